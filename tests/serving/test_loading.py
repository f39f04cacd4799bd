"""While models load: what needs none answers at once, what does says so, and loading begins as soon as it is known."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pinyon import failpoints
from pinyon.asgi import create_app
from pinyon.auth import keys
from pinyon.server import Service
from pinyon.services.control_plane.addresses import Addresses
from pinyon.settings import Settings
from pinyon.settings_loader import load

from tests.running import GIVEN_UP_S, MODELS, plain_config

pytestmark = pytest.mark.anyio
PLACE = {"cloud": "aws", "region": "us-east-1"}
MAIN, OTHERS = 5080, (5081, 5082, 5083)
EMBED: dict[str, Any] = {"model": "pinyon-hash-embed", "field_map": {"text": "t"}}
SEARCH = {"query": {"top_k": 1, "inputs": {"text": "x"}}}


class Gate:
    """Holds the threads that come to a place until it is opened."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()

    def close(self, place: failpoints.Place, subject: str | None = None) -> None:
        failpoints.arm(place, self._wait, subject)

    def _wait(self) -> None:
        self._reached.set()
        assert self._opened.wait(GIVEN_UP_S), "a test forgot its gate"

    def open(self) -> None:
        self._opened.set()

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, GIVEN_UP_S), "nothing came to the gate"


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()
    failpoints.disarm()


@pytest.fixture
def loading(gate: Gate) -> Gate:
    """Models load no further than here."""
    gate.close("load")
    return gate


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An index of vectors on the main port."""
    told = load(plain_config(tmp_path, "dimension = 2"))
    return msgspec.structs.replace(
        told,
        storage=msgspec.structs.replace(told.storage, data_dir=str(tmp_path / "data")),
        models=msgspec.structs.replace(told.models, models_dir=str(MODELS), preload=()),
    )


class Running:
    """A service in this process, and clients of its ports."""

    def __init__(self, settings: Settings) -> None:
        self.service = Service(settings, Addresses("localhost", MAIN, OTHERS, OTHERS))
        self.ready, self.failures = asyncio.Event(), list[Exception]()
        self._app = create_app(self.service)

    async def ask(
        self, method: str, path: str, body: Any = None, port: int = MAIN, key: str | None = None
    ) -> httpx.Response:
        headers = {} if key is None else {"Api-Key": key}
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://localhost:{port}", timeout=60) as client:
            return await asyncio.wait_for(client.request(method, path, json=body, headers=headers), GIVEN_UP_S)

    async def status(self, name: str) -> Any:
        answer = await self.ask("GET", f"/indexes/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()["status"]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    found = Running(settings)
    async with found.service.running(found.ready.set, found.failures.append):
        yield found
    assert not found.failures


@asynccontextmanager
async def ready(settings: Settings) -> AsyncIterator[Running]:
    async with running(settings) as found:
        await asyncio.wait_for(found.ready.wait(), GIVEN_UP_S)
        yield found


@pytest.fixture
async def filled(settings: Settings) -> Settings:
    """With an index of vectors, `vectors`, and one that embeds, `texts` on the first of the other ports."""
    async with ready(settings) as server:
        body = {"name": "texts", **PLACE, "embed": EMBED}
        assert (await server.ask("POST", "/indexes/create-for-model", body)).status_code == 201
        record = {"_id": "a", "t": "apples"}
        answer = await server.ask("POST", "/records/namespaces/n/upsert", record, OTHERS[0])
        assert answer.status_code == 201, answer.text
        vectors = {"vectors": [{"id": "a", "values": [1, 0]}]}
        assert (await server.ask("POST", "/vectors/upsert", vectors)).status_code == 200
    return settings


async def test_an_index_that_needs_no_model_answers_while_others_wait_for_theirs(
    filled: Settings, loading: Gate
) -> None:
    async with running(filled) as server:
        await loading.reached()
        await server.service.parts.engine.all_opened()
        for method, path, body in (
            ("POST", "/vectors/upsert", {"vectors": [{"id": "b", "values": [0, 1]}]}),
            ("POST", "/query", {"vector": [1, 0], "topK": 5}),
            ("GET", "/vectors/fetch?ids=a", None),
            ("GET", "/vectors/list", None),
            ("POST", "/vectors/update", {"id": "a", "setMetadata": {"n": 1}}),
            ("POST", "/vectors/delete", {"ids": ["b"]}),
            ("POST", "/describe_index_stats", {}),
            ("GET", "/namespaces", None),
            ("GET", "/indexes", None),
            ("GET", "/models", None),
            ("POST", "/indexes", {"name": "made", "dimension": 2, "spec": {"serverless": PLACE}}),
            ("DELETE", "/indexes/made", None),
        ):
            answer = await server.ask(method, path, body)
            assert answer.status_code in (200, 201, 202), (path, answer.text)
        loading.open()
        await asyncio.wait_for(server.ready.wait(), GIVEN_UP_S)


async def test_an_index_that_embeds_answers_by_vector_and_id_meanwhile_and_says_what_a_text_waits_for(
    filled: Settings, loading: Gate
) -> None:
    async with running(filled) as server:
        await loading.reached()
        await server.service.parts.engine.all_opened()
        for method, path, body in (
            ("POST", "/query", {"vector": [1.0] * 64, "topK": 1, "namespace": "n"}),
            ("GET", "/vectors/fetch?ids=a&namespace=n", None),
            ("POST", "/records/namespaces/n/search", {"query": {"top_k": 1, "id": "a"}}),
            ("POST", "/describe_index_stats", {}),
        ):
            answer = await server.ask(method, path, body, OTHERS[0])
            assert answer.status_code == 200, (path, answer.text)
        refused = await server.ask("POST", "/records/namespaces/n/search", SEARCH, OTHERS[0])
        assert (refused.status_code, refused.json()["code"]) == (503, 14)
        assert "models are being loaded" in refused.json()["message"]
        assert int(refused.headers["retry-after"]) >= 1
        loading.open()
        await asyncio.wait_for(server.ready.wait(), GIVEN_UP_S)
        answer = await server.ask("POST", "/records/namespaces/n/search", SEARCH, OTHERS[0])
        assert len(answer.json()["result"]["hits"]) == 1


async def test_nobody_waits_while_weights_are_hashed_or_read(filled: Settings, gate: Gate) -> None:
    gate.close("hash")
    async with running(filled) as server:
        await gate.reached()
        while "storage is being opened" in (await server.ask("GET", "/ready")).text:
            await asyncio.sleep(0)
        for method, path, body in (
            ("GET", "/health", None),
            ("POST", "/query", {"vector": [1, 0], "topK": 5}),
            ("GET", "/models", None),
            ("GET", "/models/all-MiniLM-L6-v2", None),
            ("GET", "/indexes", None),
        ):
            answer = await server.ask(method, path, body)
            assert answer.status_code == 200, (path, answer.text)
        gate.open()
        await asyncio.wait_for(server.ready.wait(), GIVEN_UP_S)
        found = {model["model"]: model for model in (await server.ask("GET", "/models")).json()["models"]}
        assert found["all-MiniLM-L6-v2"]["served_by"] == "all-MiniLM-L6-v2"


async def test_ready_tells_index_by_index(filled: Settings, loading: Gate) -> None:
    async with running(filled) as server:
        await loading.reached()
        await server.service.parts.engine.all_opened()
        told = await server.ask("GET", "/ready")
        assert told.status_code == 503
        assert told.json()["indexes"]["vectors"] == "ready"
        assert "models" in told.json()["indexes"]["texts"]
        assert await server.status("vectors") == {"ready": True, "state": "Ready"}
        assert await server.status("texts") == {"ready": False, "state": "Initializing"}
        loading.open()
        await asyncio.wait_for(server.ready.wait(), GIVEN_UP_S)
        told = await server.ask("GET", "/ready")
        assert told.status_code == 200
        assert await server.status("texts") == {"ready": True, "state": "Ready"}


async def test_an_index_begins_to_load_its_model_when_it_is_made_and_is_ready_once_it_can_answer(
    settings: Settings, gate: Gate
) -> None:
    async with ready(settings) as server:
        gate.close("load", EMBED["model"])
        body = {"name": "texts", **PLACE, "embed": EMBED}
        made = await server.ask("POST", "/indexes/create-for-model", body)
        assert made.status_code == 201
        assert made.json()["status"] == {"ready": False, "state": "Initializing"}
        await gate.reached()  # nobody has sent a text
        assert await server.status("texts") == {"ready": False, "state": "Initializing"}
        listed = (await server.ask("GET", "/indexes")).json()["indexes"]
        assert {index["name"]: index["status"]["ready"] for index in listed} == {"texts": False, "vectors": True}
        vectors = {"vectors": [{"id": "a", "values": [1.0] * 64}]}
        assert (await server.ask("POST", "/vectors/upsert", vectors, OTHERS[0])).status_code == 200, "it needs no model"
        gate.open()
        record = {"_id": "b", "t": "apples"}
        assert (await server.ask("POST", "/records/namespaces/n/upsert", record, OTHERS[0])).status_code == 201
        assert await server.status("texts") == {"ready": True, "state": "Ready"}


async def test_an_index_that_goes_while_its_model_loads_leaves_nothing(
    settings: Settings, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    async with ready(settings) as server:
        gate.close("load", EMBED["model"])
        body = {"name": "texts", **PLACE, "embed": EMBED}
        assert (await server.ask("POST", "/indexes/create-for-model", body)).status_code == 201
        await gate.reached()
        assert (await server.ask("DELETE", "/indexes/texts")).status_code == 202
        gate.open()
        assert (await server.ask("POST", "/indexes/create-for-model", body)).status_code == 201
        record = {"_id": "b", "t": "apples"}
        assert (await server.ask("POST", "/records/namespaces/n/upsert", record, OTHERS[0])).status_code == 201
    assert [one.getMessage() for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []


async def test_the_index_of_the_settings_holds_up_no_other_either(filled: Settings, gate: Gate) -> None:
    gate.close("open", "vectors")
    async with running(filled) as server:
        await gate.reached()
        while (await server.ask("GET", "/vectors/list?namespace=n", port=OTHERS[0])).status_code != 200:
            await asyncio.sleep(0)
        assert (await server.ask("GET", "/vectors/list")).status_code == 503
        gate.open()
        await asyncio.wait_for(server.ready.wait(), GIVEN_UP_S)
        assert (await server.ask("GET", "/vectors/list")).status_code == 200


async def test_an_index_whose_file_takes_long_to_open_holds_up_no_other(filled: Settings, gate: Gate) -> None:
    gate.close("open", "texts")
    async with running(filled) as server:
        await gate.reached()
        while "storage is being opened" in (await server.ask("GET", "/ready")).text:  # the other one opens beside it
            await asyncio.sleep(0)
        while (answer := await server.ask("POST", "/query", {"vector": [1, 0], "topK": 5})).status_code == 503:
            await asyncio.sleep(0)
        assert answer.status_code == 200, answer.text
        told = await server.ask("GET", "/ready")
        assert (told.status_code, told.json()["indexes"]["vectors"]) == (503, "ready")
        assert told.json()["indexes"]["texts"] != "ready"
        waiting = await server.ask("GET", "/vectors/list", port=OTHERS[0])
        assert waiting.status_code == 503
        taken = {"name": "texts", "dimension": 2, "spec": {"serverless": PLACE}}
        assert (await server.ask("POST", "/indexes", taken)).status_code == 409
        gate.open()
        await asyncio.wait_for(server.ready.wait(), GIVEN_UP_S)
        listed = await server.ask("GET", "/vectors/list?namespace=n", port=OTHERS[0])
        assert [one["id"] for one in listed.json()["vectors"]] == ["a"]


async def test_an_index_that_is_made_while_models_load_gets_its_own_too(settings: Settings, loading: Gate) -> None:
    async with running(settings) as server:
        while (await server.ask("GET", "/indexes")).status_code != 200:
            await asyncio.sleep(0)
        made = await server.ask("POST", "/indexes/create-for-model", {"name": "texts", **PLACE, "embed": EMBED})
        assert made.status_code == 201 or "loading" in made.text, made.text
        loading.open()
        await asyncio.wait_for(server.ready.wait(), GIVEN_UP_S)
        indexes = server.service.parts.indexes
        assert indexes.embedders.loaded(indexes.index("texts")), "nobody has sent a text, and none will have to wait"


async def test_a_key_of_one_index_is_told_to_wait_while_that_index_is_opened(filled: Settings, gate: Gate) -> None:
    key = keys.create(Path(filled.storage.data_dir), "texts", keys.Limits(indexes=("texts",)))
    gate.close("open", "texts")
    async with running(filled) as server:
        await gate.reached()
        while "storage is being opened" in (await server.ask("GET", "/ready")).text:
            await asyncio.sleep(0)
        answer = await server.ask("GET", "/vectors/list", port=OTHERS[0], key=key)
        assert answer.status_code == 503, answer.text
        assert "Retry-After" in answer.headers
        gate.open()
        await asyncio.wait_for(server.ready.wait(), GIVEN_UP_S)
        assert (await server.ask("GET", "/vectors/list", port=OTHERS[0], key=key)).status_code == 200
