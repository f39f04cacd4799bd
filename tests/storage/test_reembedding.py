"""New vectors for every record, while records come, change and go; then all at once."""

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon import failpoints
from pinyon.concurrency.cancellation import cancel
from pinyon.domain import (
    EmbedSpec,
    Fingerprint,
    IndexSpec,
    PagePlan,
    QueryAnswer,
    QueryPlan,
    Record,
    ReembeddedText,
    Selection,
    StoredText,
    UpdatePlan,
)
from pinyon.errors import EmbeddingMismatch, FailedPrecondition, InvalidArgument
from pinyon.storage.engine import Engine
from pinyon.storage.postgres.connection.database import Connection, Database
from pinyon.storage.sqlite.records import reading
from pinyon.storage.sqlite.schema import tables

from tests.examples import examples
from tests.postgres.shared_server import sessions_that_wait
from tests.running import GIVEN_UP_S
from tests.storage.engines import ENGINES, EngineKind, every_engine

pytestmark = pytest.mark.anyio

OLD = IndexSpec("docs", 2, "cosine", EmbedSpec("old", "text"))
NEW = IndexSpec("docs", 3, "cosine", EmbedSpec("new", "text"))


def printed(model: str, dimension: int) -> Fingerprint:
    return Fingerprint(model, model, "1", "mean", "", "", dimension)


def embedded(text: str, dimension: int) -> Any:
    """A vector that only this text has, in a pretended model of this dimension."""
    return np.random.default_rng(abs(hash((text, dimension))) % 2**32).normal(size=dimension).astype(np.float32)


def record(id: str, text: str, dimension: int, cut: bool = False) -> Record:
    return Record(id, embedded(text, dimension), {"text": text}, truncated=cut)


async def step(engine: Engine, most: int = 2) -> list[StoredText]:
    """One round of embedding anew; the texts it was for."""
    texts = await engine.texts_to_reembed("docs", most)
    await engine.keep_reembedded(
        "docs", printed("new", 3), [ReembeddedText(text, embedded(text.text, 3), len(text.text) > 4) for text in texts]
    )
    return texts


async def vectors(engine: Engine, namespace: str) -> dict[str, Any]:
    page = await engine.page("docs", namespace, PagePlan(100))
    return {found.id: found.vector for found in page.records}


OPERATION = st.one_of(
    st.tuples(st.just("step"), st.just(""), st.just("")),
    st.tuples(
        st.just("upsert"), st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["one", "two", "three", "four"])
    ),
    st.tuples(st.just("update"), st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["one", "five"])),
    st.tuples(st.just("delete"), st.sampled_from(["a", "b", "c", "d"]), st.just("")),
    st.tuples(st.just("delete all"), st.just(""), st.just("")),
    st.tuples(st.just("stale"), st.just(""), st.just("")),
    st.tuples(st.just("reopen"), st.just(""), st.just("")),
)


@settings(max_examples=examples(40))
@given(operations=st.lists(st.tuples(st.sampled_from(["m", "n"]), OPERATION), max_size=14))
@every_engine
def test_whatever_happens_meanwhile_every_record_ends_with_the_vector_of_its_text(
    kind: EngineKind, operations: list[Any]
) -> None:
    async def run(folder: Path) -> None:
        engine = await kind.open(folder)
        await engine.create_index(OLD)
        start = [record(id, text, 2) for id, text in (("a", "one"), ("b", "two"), ("c", "three"))]
        await engine.upsert("docs", "m", start, printed("old", 2))
        texts = {("m", one.id): one.metadata["text"] for one in start}
        await engine.begin_reembedding("docs", NEW, printed("new", 3))
        stale: list[StoredText] = []
        for namespace, (what, id, text) in operations:
            if what == "step":
                stale = await step(engine)
            elif what == "stale":  # vectors that arrive after the text has changed
                await engine.keep_reembedded(
                    "docs",
                    printed("new", 3),
                    [ReembeddedText(text, embedded(text.text, 3), len(text.text) > 4) for text in stale],
                )
            elif what == "upsert":
                await engine.upsert("docs", namespace, [record(id, text, 2)], printed("old", 2))
                texts[namespace, id] = text
            elif what == "update" and (namespace, id) in texts:
                await engine.update("docs", namespace, UpdatePlan(Selection(ids=[id]), metadata={"text": text}))
                texts[namespace, id] = text
            elif what == "delete" and (namespace, id) in texts:
                await engine.delete("docs", namespace, Selection(ids=[id]))
                del texts[namespace, id]
            elif what == "delete all" and any(key[0] == namespace for key in texts):
                await engine.delete("docs", namespace, Selection())
                texts = {key: text for key, text in texts.items() if key[0] != namespace}
            elif what == "reopen":
                await engine.close()
                engine = await kind.open(folder)
        while not await engine.finish_reembedding("docs"):
            assert await step(engine), "something is left to do as long as it cannot be finished"
        assert engine.index("docs").spec == NEW
        assert await engine.fingerprint("docs") == printed("new", 3)
        assert await engine.reembedding("docs") is None
        for namespace in ("m", "n"):
            found = await vectors(engine, namespace)
            wanted = {id: embedded(text, 3) for (ns, id), text in texts.items() if ns == namespace}
            assert found.keys() == wanted.keys()
            for id, vector in wanted.items():
                np.testing.assert_array_equal(found[id], vector)
        counted = {one.name: one.truncated for one in await engine.every_namespace("docs")}
        for namespace, cut in counted.items():
            assert cut == sum(len(text) > 4 for (ns, _), text in texts.items() if ns == namespace)
        await engine.close()
        assert kind.problems(folder, "docs") == []

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@every_engine
async def test_until_the_switch_the_index_answers_as_before_and_then_not_with_the_old_vectors(
    kind: EngineKind, tmp_path: Path
) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(OLD)
    await engine.upsert("docs", "n", [record("a", "one", 2), record("b", "two", 2)], printed("old", 2))
    await engine.begin_reembedding("docs", NEW, printed("new", 3))
    old = QueryPlan(2, vector=embedded("one", 2), embedded_by=printed("old", 2))
    new = QueryPlan(2, vector=embedded("one", 3), embedded_by=printed("new", 3))
    await step(engine)
    held = await engine.reembedding("docs")
    assert held is not None
    assert (held.done, held.total, held.target) == (2, 2, NEW)
    assert (await engine.query("docs", "n", old)).matches[0].id == "a"
    with pytest.raises(EmbeddingMismatch):
        await engine.query("docs", "n", new)
    assert await engine.finish_reembedding("docs")
    assert (await engine.query("docs", "n", new)).matches[0].score == pytest.approx(1)
    with pytest.raises(EmbeddingMismatch):
        await engine.query("docs", "n", old)
    with pytest.raises(EmbeddingMismatch):
        await engine.upsert("docs", "n", [record("c", "three", 2)], printed("old", 2))
    # A vector of the caller's own is refused by its length.
    for call in (
        engine.query("docs", "n", QueryPlan(2, vector=embedded("one", 2))),
        engine.upsert("docs", "n", [record("c", "three", 2)]),
        engine.update("docs", "n", UpdatePlan(Selection(ids=["a"]), vector=embedded("x", 2))),
    ):
        with pytest.raises(InvalidArgument, match="dimension 2 does not match the dimension of the index 3"):
            await call
    assert not await engine.finish_reembedding("docs"), "nothing is going on any more"
    await engine.close()


@every_engine
async def test_another_target_begins_anew_and_the_same_goes_on(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(OLD)
    await engine.upsert("docs", "n", [record(id, id, 2) for id in "abc"], printed("old", 2))
    await engine.begin_reembedding("docs", NEW, printed("new", 3))
    await step(engine)
    await engine.begin_reembedding("docs", NEW, printed("new", 3))
    held = await engine.reembedding("docs")
    assert held is not None and held.done == 2
    other = msgspec.structs.replace(NEW, dimension=4)
    await engine.begin_reembedding("docs", other, printed("newer", 4))
    held = await engine.reembedding("docs")
    assert held is not None and (held.done, held.target) == (0, other)
    await engine.cancel_reembedding("docs")
    assert await engine.reembedding("docs") is None
    assert await engine.texts_to_reembed("docs", 9) == []
    await engine.keep_reembedded(
        "docs", printed("newer", 4), [ReembeddedText(StoredText("n", "a", "a"), embedded("a", 4), False)]
    )
    assert not await engine.finish_reembedding("docs")
    assert engine.index("docs").spec == OLD
    await engine.close()


@every_engine
async def test_records_without_text_are_named_before_anything_begins(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(OLD)
    await engine.upsert("docs", "n", [Record("bare", embedded("x", 2), {"other": 1}), record("a", "one", 2)])
    with pytest.raises(FailedPrecondition, match="1 records have no text to embed, for example 'bare'"):
        await engine.begin_reembedding("docs", NEW, printed("new", 3))
    assert await engine.reembedding("docs") is None
    await engine.close()


@every_engine
async def test_an_empty_index_is_switched_at_once(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(OLD)
    await engine.begin_reembedding("docs", NEW, printed("new", 3))
    assert await engine.finish_reembedding("docs")
    await engine.upsert("docs", "n", [record("a", "one", 3, cut=True)], printed("new", 3))
    assert [(one.record_count, one.truncated) for one in await engine.every_namespace("docs")] == [(1, 1)]
    await engine.close()


@every_engine
async def test_vectors_of_another_model_are_never_taken(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(OLD)
    await engine.upsert("docs", "n", [record("a", "one", 2)], printed("old", 2))
    await engine.begin_reembedding("docs", NEW, printed("new", 3))
    texts = await engine.texts_to_reembed("docs", 9)
    await engine.begin_reembedding("docs", NEW, printed("newer", 3))
    await engine.keep_reembedded(
        "docs", printed("new", 3), [ReembeddedText(text, embedded("late", 3), False) for text in texts]
    )
    assert not await engine.finish_reembedding("docs")
    await engine.close()


@every_engine
async def test_what_is_configured_meanwhile_is_kept_by_the_switch(kind: EngineKind, tmp_path: Path) -> None:
    engine = await kind.open(tmp_path)
    await engine.create_index(OLD)
    rows = [Record(id, embedded(id, 2), {"text": id, "other": f"{id} {id}"}) for id in "abc"]
    await engine.upsert("docs", "n", rows, printed("old", 2))
    await engine.begin_reembedding("docs", NEW, printed("new", 3))
    await step(engine)
    changed = msgspec.structs.replace(OLD, embed=EmbedSpec("old", "other", retrieval="hybrid"))
    await engine.configure_index(msgspec.structs.replace(engine.index("docs"), spec=changed))
    while not await engine.finish_reembedding("docs"):
        assert await step(engine)
    spec = engine.index("docs").spec
    assert spec.embed == EmbedSpec("new", "other", retrieval="hybrid")
    assert spec.dimension == 3
    for id, vector in (await vectors(engine, "n")).items():
        np.testing.assert_array_equal(vector, embedded(f"{id} {id}", 3))
    await engine.delete("docs", "n", Selection(ids=["a"]))
    await engine.close()
    assert kind.problems(tmp_path, "docs") == []


class StoppedSearch:
    """Stops searches, of either engine: before they see any of the index, or when they have seen what it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, moment: Literal["before", "after"]) -> None:
        self.moment, self._reached, self._goes_on = moment, threading.Event(), threading.Event()
        query, transaction = reading.query, Database.transaction

        def query_stopped(connection: Any, *given: Any) -> QueryAnswer | None:
            if moment == "after":
                tables.state(connection)
            self._stop()
            return query(connection, *given)

        @asynccontextmanager
        async def transaction_stopped(database: Database, *given: Any, **more: Any) -> AsyncIterator[Connection]:
            is_read = more.get("first") is not None
            if is_read and moment == "before":
                await asyncio.to_thread(self._stop)
            async with transaction(database, *given, **more) as connection:
                if is_read and moment == "after":
                    await asyncio.to_thread(self._stop)
                yield connection

        monkeypatch.setattr(reading, "query", query_stopped)
        monkeypatch.setattr(Database, "transaction", transaction_stopped)

    def _stop(self) -> None:
        self._reached.set()
        assert self._goes_on.wait(GIVEN_UP_S)

    async def reached(self) -> None:
        """Wait until a search has stopped."""
        assert await asyncio.to_thread(self._reached.wait, GIVEN_UP_S)

    def go_on(self) -> None:
        """Let searches go on, and stop none any more."""
        self._goes_on.set()


async def switched_beside(
    search: "asyncio.Task[QueryAnswer]", stopped: StoppedSearch, kind: EngineKind, engine: Engine
) -> None:
    """Switch the vectors while a search is stopped; then let it go on."""
    committed = threading.Event()
    failpoints.arm("committed", committed.set)
    try:
        await stopped.reached()
        switch = asyncio.create_task(engine.finish_reembedding("docs"))
        if kind is ENGINES["sqlite"]:
            assert await asyncio.to_thread(committed.wait, GIVEN_UP_S)
        elif stopped.moment == "before":
            await asyncio.wait([switch])
        else:  # the search has locked the index
            waits = asyncio.create_task(sessions_that_wait(1))
            await asyncio.wait([switch, waits], return_when=asyncio.FIRST_COMPLETED)
            await cancel(waits)
        assert not search.done()
    finally:
        stopped.go_on()
        failpoints.disarm()
    await asyncio.wait([search])
    assert await switch


TEXTS = {"a": "one", "b": "two", "c": "three"}
OLD_VECTOR = {"vector": embedded("one", 2), "embedded_by": printed("old", 2)}
SEARCHES = {
    "by vector": QueryPlan(3, include_values=True, **OLD_VECTOR),
    "by record": QueryPlan(3, include_values=True, id="a"),
    "hybrid": QueryPlan(3, include_values=True, text="one", **OLD_VECTOR),
}


def assert_one_side(answer: QueryAnswer, plan: QueryPlan, dimension: int, model: str) -> None:
    """Every record is a hit, with the vector and the score of this model."""
    assert {match.id for match in answer.matches} == set(TEXTS)
    assert answer.matches[0].id == "a"
    assert answer.embedded_by == printed(model, dimension)
    first = embedded("one", dimension)
    for match in answer.matches:
        vector = embedded(TEXTS[match.id], dimension)
        np.testing.assert_array_equal(match.vector, vector)
        if plan.text is None:
            cosine = first @ vector / np.linalg.norm(first) / np.linalg.norm(vector)
            assert match.score == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize(
    ("moment", "search"),
    [("before", "by vector"), ("before", "by record"), ("after", "hybrid"), ("after", "by record")],
)
@every_engine
async def test_a_search_that_meets_the_switch_answers_from_one_side_of_it(
    kind: EngineKind,
    moment: Literal["before", "after"],
    search: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, plan = await kind.open(tmp_path), SEARCHES[search]
    await engine.create_index(OLD)
    await engine.upsert("docs", "n", [record(id, text, 2) for id, text in TEXTS.items()], printed("old", 2))
    await engine.begin_reembedding("docs", NEW, printed("new", 3))
    await step(engine, 3)
    stopped = StoppedSearch(monkeypatch, moment)
    asked = asyncio.create_task(engine.query("docs", "n", plan))
    await switched_beside(asked, stopped, kind, engine)
    if moment == "after":
        assert_one_side(await asked, plan, 2, "old")
    elif plan.vector is None:
        assert_one_side(await asked, plan, 3, "new")
    else:
        with pytest.raises(EmbeddingMismatch):  # not an error about the dimension: the services ask again
            await asked
    new = {} if plan.vector is None else {"vector": embedded("one", 3), "embedded_by": printed("new", 3)}
    plan = msgspec.structs.replace(plan, **new)
    assert_one_side(await engine.query("docs", "n", plan), plan, 3, "new")
    await engine.close()
    assert kind.problems(tmp_path, "docs") == []
