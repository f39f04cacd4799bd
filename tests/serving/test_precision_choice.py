"""A server finds out how its models are computed fastest, uses that where nothing is embedded yet, and says so."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pinyon.asgi import create_app
from pinyon.cli.maintenance.doctor import examine
from pinyon.inference import precision
from pinyon.inference.precision import Choice
from pinyon.server import Service
from pinyon.services.control_plane.addresses import Addresses
from pinyon.serving.banner import banner
from pinyon.settings import Settings
from pinyon.settings_loader import load

from tests.running import MODELS, RunningServer, config

pytestmark = pytest.mark.anyio
MINILM = "all-MiniLM-L6-v2"
MEASURED = Choice("bf16", 2.5, 0.9999)
WHY = "measured here: 2.5 times as fast as fp32, rank correlation 0.9999"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The quick start with folders of its own."""
    shutil.copytree(MODELS, tmp_path / "models")
    told = load(config(tmp_path, MINILM))
    return msgspec.structs.replace(
        told,
        storage=msgspec.structs.replace(told.storage, data_dir=str(tmp_path / "data")),
        models=msgspec.structs.replace(told.models, models_dir=str(tmp_path / "models")),
    )


async def upserted_by(client: httpx.AsyncClient) -> str:
    answer = await client.post("/records/namespaces/a/upsert", json={"_id": "a", "chunk_text": "apples"})
    assert answer.status_code == 201, answer.text
    return answer.headers["x-pinyon-model"]


async def model(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/models/{MINILM}")).json()
    return found


@pytest.mark.parametrize("empty", [True, False])
async def test_a_choice_counts_at_once_where_nothing_is_embedded_yet(settings: Settings, empty: bool) -> None:
    service, ready = Service(settings, Addresses("localhost", 5080)), asyncio.Event()
    async with service.running(ready.set, pytest.fail):
        await ready.wait()
        assert "computed in fp32 (not measured yet; a server does it after its start)" in banner(service)
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:5080", timeout=60) as client:
            if not empty:
                assert await upserted_by(client) == MINILM
            # As if a server beside this one had measured it meanwhile: what is known is not measured again.
            precision.choose(settings.models_dir, MINILM, MEASURED)
            await service.start_finding_precisions()
            if empty:
                assert await upserted_by(client) == f"{MINILM}; precision=bf16"
                assert f"computed in bf16 ({WHY})" in banner(service)
            else:
                assert await upserted_by(client) == MINILM, "an index never mixes two precisions"
                told = f"computed in fp32, like its records; after `pinyon reembed` in bf16 ({WHY})"
                assert told in banner(service)
            found = await model(client)
            assert (found["precision"], found["precision_reason"]) == ("bf16", WHY)


def test_doctor_says_how_models_are_computed_and_why(settings: Settings) -> None:
    precision.choose(settings.models_dir, MINILM, MEASURED)
    told = [finding.message for finding in examine(settings)]
    assert f"{MINILM}; precision=bf16, computed in bf16 ({WHY})" in told


@pytest.mark.slow
@pytest.mark.alone  # other tests would go before the measurement
def test_a_first_start_measures_and_the_next_one_knows(tmp_path: Path) -> None:
    shutil.copytree(MODELS, tmp_path / "models")
    options = ["--precision", "auto", "--models-dir", str(tmp_path / "models")]
    server = RunningServer(config(tmp_path, MINILM), tmp_path / "data", *options)
    server.wait_for(f"{MINILM} is computed in", timeout_s=600)
    with server.client() as client:
        label = client.get(f"/models/{MINILM}").json()["served_by"]
    assert server.stop() == 0, server.text
    choices = json.loads((tmp_path / "models" / precision.FILE).read_text())[precision.machine()]
    assert choices[MINILM]["agreement"] >= 0.99
    again = RunningServer(config(tmp_path, MINILM), tmp_path / "data", *options)
    again.wait_for("(measured here")
    with again.client() as client:
        assert client.get(f"/models/{MINILM}").json()["served_by"] == label
    assert again.stop() == 0, again.text
    assert f"{MINILM} is computed in" not in again.text


@pytest.mark.slow
def test_a_stop_does_not_wait_for_a_measurement(tmp_path: Path) -> None:
    shutil.copytree(MODELS, tmp_path / "models")
    options = ["--precision", "auto", "--models-dir", str(tmp_path / "models")]
    server = RunningServer(config(tmp_path, MINILM), tmp_path / "data", *options)
    assert server.stop() == 0, server.text
    assert "was interrupted; the next start begins it again" in server.text
    assert precision.chosen(tmp_path / "models") == {}
