"""Data folders that earlier versions made: each later version opens them, answers the same, and goes on with them."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.golden.make import HERE, seen
from tests.running import RunningServer, config
from tests.storage.consistency import problems

FOLDERS = sorted(HERE.glob("*.tar.gz"))


@pytest.mark.parametrize("archive", FOLDERS, ids=[path.name for path in FOLDERS])
def test_a_folder_of_an_earlier_version_is_opened_and_written_on(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as content:
        content.extractall(tmp_path, filter="data")
    wanted = json.loads(archive.with_name(archive.name.removesuffix(".tar.gz") + ".json").read_text())
    server = RunningServer(config(tmp_path), tmp_path / "data")
    with server.client() as client:
        assert rounded(seen(client)) == rounded(wanted)
        row = {"_id": "new", "chunk_text": "apples, once more"}
        assert client.post("/records/namespaces/one/upsert", json=row).status_code == 201
        query = {"query": {"inputs": {"text": "apples, once more"}, "top_k": 1, "retrieval": "hybrid"}}
        hits = client.post("/records/namespaces/one/search", json=query).json()
        assert hits["result"]["hits"][0]["_id"] == "new"
    assert server.stop() == 0
    assert problems(tmp_path / "data" / "indexes" / "quickstart.sqlite") == []


def rounded(value: Any) -> Any:
    """Scores may differ in their last digits, and what is added to an answer is no change of what there was."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items() if key not in ("truncatedCount", "sparseValues")}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value


def test_there_is_a_folder_of_this_version() -> None:
    assert {path.name.removesuffix(".tar.gz") for path in FOLDERS} >= {"0.1.0", "0.2.0"}
