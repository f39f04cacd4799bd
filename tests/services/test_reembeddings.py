"""Embedding indexes anew: side by side, and while other requests run."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinyon.domain import EmbedSpec, Fingerprint, Handle, Index, IndexSpec
from pinyon.services.control_plane.embedders import Embedders
from pinyon.services.control_plane.readiness import Readiness
from pinyon.services.data_plane.records.index_texts import MOST_ATTEMPTS
from pinyon.storage.postgres.data_plane import PostgresDataPlane
from pinyon.storage.sqlite.data_plane import SqliteDataPlane
from pinyon.storage.sqlite.upkeep import compaction

from tests.durability.test_kills import WIDE
from tests.durability.test_power import serving
from tests.postgres.two_services import running
from tests.running import GIVEN_UP_S, MODELS

pytestmark = pytest.mark.anyio
MODEL = "pinyon-hash-embed"


async def test_an_index_whose_reembedding_cannot_begin_yet_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, opened = threading.Event(), threading.Event()
    shrink = compaction.shrink

    def slowly(connection: Any) -> None:
        if Path(connection.filename).stem == "quickstart":
            reached.set()
            assert opened.wait(3 * GIVEN_UP_S), "the test forgot to let it go on"
        shrink(connection)

    monkeypatch.setattr(compaction, "shrink", slowly)
    async with serving(tmp_path, tmp_path / "data") as http:
        embed = {"model": MODEL, "field_map": {"text": "text"}}
        made = await http.post(
            "/indexes/create-for-model", json={"name": "two", "cloud": "aws", "region": "x", "embed": embed}
        )
        assert made.status_code == 201, made.text
        compacting = asyncio.ensure_future(http.post("/indexes/quickstart/compact"))
        assert await asyncio.to_thread(reached.wait, GIVEN_UP_S)
        waiting = asyncio.ensure_future(http.post("/indexes/quickstart/reembed", json={"model": MODEL}))
        try:
            async with asyncio.timeout(GIVEN_UP_S):
                other = await http.post("/indexes/two/reembed", json={"model": MODEL})
            assert other.status_code < 300, other.text
            assert not waiting.done(), "the index that is compacted takes no writes yet"
        finally:
            opened.set()
            done = await asyncio.gather(compacting, waiting)
        assert [answer.is_success for answer in done] == [True, True]


HASH_MODELS = [MODEL, "pinyon-hash-wide"]


def models_with_another(folder: Path) -> Path:
    """A folder of models that has another hash model, with 96 dimensions."""
    folder.mkdir()
    (folder / "manifest.toml").write_text((MODELS / "manifest.toml").read_text() + WIDE)
    return folder


async def switch(http: httpx.AsyncClient) -> None:
    """Re-embed the index with the other model, to the end."""
    now = (await http.get("/indexes/quickstart")).json()["embed"]["model"]
    (other,) = set(HASH_MODELS) - {now}
    (await http.post("/indexes/quickstart/reembed", json={"model": other})).raise_for_status()
    while (await http.get("/indexes/quickstart/reembed")).json()["running"]:
        await asyncio.sleep(0)


@pytest.mark.parametrize("switches", [1, 3, MOST_ATTEMPTS])
async def test_a_request_outlasts_several_switches_of_the_model_and_then_asks_to_try_again(
    switches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, tmp_path / "data", models=models_with_another(tmp_path / "models")) as http:
        upsert, left = SqliteDataPlane.upsert, [0]

        async def switched_first(self: SqliteDataPlane, *given: Any) -> int:
            if left[0]:
                left[0] -= 1
                await switch(http)
            return await upsert(self, *given)

        monkeypatch.setattr(SqliteDataPlane, "upsert", switched_first)
        record = {"_id": "a", "chunk_text": "a text"}
        path = "/records/namespaces/n/upsert"
        (await http.post(path, json=record)).raise_for_status()
        left[0] = switches
        answer = await http.post(path, json={**record, "chunk_text": "another"})
        hits = (
            await http.post("/records/namespaces/n/search", json={"query": {"inputs": {"text": "a"}, "top_k": 1}})
        ).json()
    assert left == [0]
    outlasted = switches < MOST_ATTEMPTS
    assert answer.status_code == (201 if outlasted else 503), answer.text
    assert outlasted or "was re-embedded 10 times during the request; try again" in answer.text
    (hit,) = hits["result"]["hits"]
    assert hit["fields"]["chunk_text"] == ("another" if outlasted else "a text")


QUERIES = {
    "by vectors": {"inputs": {"text": "a text", "retrieval": "dense"}},
    "by words": {"inputs": {"text": "a text", "retrieval": "lexical"}},
    "hybrid": {"inputs": {"text": "a text", "retrieval": "hybrid", "explain": True}},
    "by record": {"id": "1"},
}


@asynccontextmanager
async def site(engine: str, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The application with both models, on an engine."""
    models = models_with_another(folder / "models")
    if engine == "postgres":
        async with running(folder, models) as on_database:
            yield on_database.http
    else:
        async with serving(folder, folder / "data", models=models) as http:
            yield http


@pytest.mark.parametrize(("engine", "plane"), [("sqlite", SqliteDataPlane), ("postgres", PostgresDataPlane)])
async def test_a_search_whose_index_is_switched_before_it_reads_answers_as_one_after_the_switch(
    engine: str, plane: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(engine, tmp_path) as http:
        query, left = plane.query, [0]

        async def switched_first(self: Any, *given: Any) -> Any:
            if left[0]:
                left[0] -= 1
                await switch(http)
            return await query(self, *given)

        async def search(asked: dict[str, Any]) -> tuple[Any, str | None]:
            body = {"query": {**asked, "top_k": 3}}
            answer = (await http.post("/records/namespaces/n/search", json=body)).raise_for_status()
            return answer.json()["result"], answer.headers.get("x-pinyon-model")

        monkeypatch.setattr(plane, "query", switched_first)
        rows = [{"_id": str(n), "chunk_text": f"a text of {n} words"} for n in range(3)]
        for row in rows:
            (await http.post("/records/namespaces/n/upsert", json=row)).raise_for_status()
        for asked in QUERIES.values():
            left[0] = 1
            beside = await search(asked)
            assert left == [0]
            assert beside == await search(asked)
            assert len(beside[0]["hits"]) == 3


async def test_a_model_that_changed_while_it_was_loaded_is_not_the_one_that_is_kept() -> None:
    spec, handle = IndexSpec("docs", 2, "cosine", EmbedSpec("any", "text")), Handle("docs", "1")
    stored = [Fingerprint(name, name, "1", "mean", "", "", 2) for name in ("old", "new")]
    loaded: list[str] = []

    class Stored:
        """Stands for the engine: what embedded the records."""

        def index(self, index: Handle) -> Index:
            return Index(spec, handle)

        async def fingerprint(self, index: Handle) -> Fingerprint:
            return stored[0]

    class Models:
        """Stands for the catalogue: the index is switched while the first model is loaded."""

        def embedder(self, fingerprint: Fingerprint) -> Fingerprint:
            loaded.append(fingerprint.model)
            if len(loaded) == 1:
                stored.pop(0)
                embedders.forget(handle)
            return fingerprint

    class Executor:
        """Stands for the model thread."""

        async def run(self, call: Any, *given: Any) -> Any:
            return call(*given)

    readiness = Readiness()
    readiness.loading = False
    parts: Sequence[Any] = (Stored(), Models(), Executor(), readiness)
    embedders = Embedders(*parts)
    answered: Any = await embedders.get(Index(spec, handle))
    assert (answered, loaded) == (stored[0], ["old", "new"])
    assert embedders.loaded(Index(spec, handle)) is answered


async def test_a_choice_of_precision_changes_nothing_where_the_index_has_it_already() -> None:
    spec, handle = IndexSpec("docs", 2, "cosine", EmbedSpec("any", "text", sparse_model="words")), Handle("docs", "1")

    def printed(version: str, sparse_model: str) -> Fingerprint:
        return Fingerprint("any", "any", version, "mean", "", "", 2, sparse_model=sparse_model)

    class Embedder:
        fingerprint = printed("1", "words")

    class Stored:
        """Stands for the engine: an index with records."""

        def index(self, index: Handle) -> Index:
            return Index(spec, handle)

        def indexes(self) -> list[Index]:
            return [Index(spec, handle)]

        async def fingerprint(self, index: Handle) -> Fingerprint:
            return Embedder.fingerprint

    class Models:
        """Stands for the catalogue. version: says how models are computed now."""

        version = "1"

        def fingerprint(self, model: str, dimension: int | None, sparse_model: str = "") -> Fingerprint:
            return printed(self.version, sparse_model)

        def embedder(self, fingerprint: Fingerprint) -> Embedder:
            return Embedder()

    class Executor:
        """Stands for the model thread."""

        async def run(self, call: Any, *given: Any) -> Any:
            return call(*given)

    readiness, models = Readiness(), Models()
    readiness.loading = False
    parts: Sequence[Any] = (Stored(), models, Executor(), readiness)
    embedders = Embedders(*parts)
    await embedders.get(Index(spec, handle))
    assert await embedders.load_again("any") == []
    models.version = "2"
    assert await embedders.load_again("any") == ["docs"], "its records keep theirs"
