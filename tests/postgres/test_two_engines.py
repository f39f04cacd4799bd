"""Two engines on one database: what is done at one is right at the other at once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pinyon.domain import EmbedSpec, Fingerprint, IndexSpec, PagePlan, QueryPlan, Record, ReembeddedText
from pinyon.errors import EmbeddingMismatch, NotFound, VersionConflict
from pinyon.storage.postgres.engine import PostgresEngine

from tests.postgres.shared_server import open_postgres
from tests.running import GIVEN_UP_S

pytestmark = pytest.mark.anyio
OLD = IndexSpec("docs", 2, "cosine", EmbedSpec("old", "text"))
NEW = IndexSpec("docs", 3, "cosine", EmbedSpec("new", "text"))
Pair = tuple[PostgresEngine, PostgresEngine]


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Pair]:
    first = await open_postgres(tmp_path)
    second = await open_postgres(tmp_path)
    yield first, second
    await second.close()
    await first.close()


def printed(model: str, dimension: int) -> Fingerprint:
    return Fingerprint(model, model, "1", "mean", "", "", dimension)


def record(id: str, text: str, dimension: int = 2) -> Record:
    return Record(id, np.ones(dimension, np.float32), {"text": text})


async def words(engine: PostgresEngine, text: str) -> list[str]:
    """Ids of the records that a keyword search finds."""
    return [match.id for match in (await engine.query("docs", "", QueryPlan(10, text=text))).matches]


async def until(condition: Any) -> None:
    """Wait until a condition holds; notifications of the database come on the event loop."""
    async with asyncio.timeout(GIVEN_UP_S):
        while not condition():
            await asyncio.sleep(0)


async def test_an_index_made_at_one_is_used_at_the_other_at_once_and_listed_soon(engines: Pair) -> None:
    first, second = engines
    made = await first.create_index(OLD)
    assert await second.upsert("docs", "", [record("a", "one")]) == 1
    assert (await first.page("docs", "", PagePlan(10))).records[0].id == "a"
    other = await first.create_index(msgspec.structs.replace(OLD, name="more"))
    await second.opened("more")
    assert second.index("more") == other
    assert second.indexes() == [made, other]
    last = await first.create_index(msgspec.structs.replace(OLD, name="last"))
    await until(lambda: last in second.indexes())


async def test_an_index_that_the_other_has_deleted_is_no_trouble_for_the_upkeep(
    engines: Pair, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = engines
    await first.create_index(OLD)
    known = first._copy.known("docs")
    monkeypatch.setattr(first._copy, "known", lambda name: known)  # the notification comes too late
    await second.delete_index("docs")
    first.upkeep.schedule("docs")
    await first.upkeep.idle()
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


async def test_an_index_that_was_deleted_and_made_again_at_the_other_is_another_one(engines: Pair) -> None:
    first, second = engines
    old = await first.create_index(OLD)
    await first.upsert("docs", "", [record("a", "apple"), record("b", "pear")])
    assert await words(second, "apple") == ["a"]
    await first.delete_index("docs")
    new = await first.create_index(OLD)
    await first.upsert("docs", "", [record("a", "pear"), record("c", "apple")])
    with pytest.raises(NotFound):
        await second.upsert(old.handle, "", [record("d", "apple")])
    with pytest.raises(NotFound):
        await second.query(old.handle, "", QueryPlan(10, text="apple"))
    assert second.index("docs") == new
    assert await words(second, "apple") == await words(first, "apple") == ["c"]


async def test_keyword_searches_are_never_of_an_older_version(engines: Pair) -> None:
    first, second = engines
    index = await first.create_index(OLD)
    texts = {"a": "running dogs", "b": "the dog runs", "c": "run"}
    await first.upsert("docs", "", [record(id, text) for id, text in texts.items()])
    assert set(await words(second, "run")) == {"a", "b", "c"}
    assert index.spec.embed is not None
    plain = msgspec.structs.replace(index.spec.embed, language="none")
    await first.configure_index(msgspec.structs.replace(index, spec=msgspec.structs.replace(OLD, embed=plain)))
    assert await words(second, "run") == await words(first, "run") == ["c"], "the text analysis is another one"
    for number in range(5):
        engine, other = (first, second) if number % 2 else (second, first)
        await engine.upsert("docs", "", [record(f"n{number}", "run")])
        assert set(await words(other, "run")) == {"c", *(f"n{each}" for each in range(number + 1))}


async def test_a_change_of_an_older_version_is_refused(engines: Pair) -> None:
    first, second = engines
    index = await first.create_index(OLD)
    protected = msgspec.structs.replace(index, details=msgspec.structs.replace(index.details, tags={"a": "1"}))
    await second.opened("docs")
    changed = await first.configure_index(protected)
    with pytest.raises(VersionConflict):
        await second.configure_index(protected)
    with pytest.raises(VersionConflict):
        await second.delete_index("docs", index.version)
    assert second.index("docs") == changed, "whoever was too slow knows the newest state"
    await second.delete_index("docs", changed.version)
    with pytest.raises(NotFound):
        await first.query("docs", "", QueryPlan(1, text="x"))


async def test_what_was_embedded_by_the_model_before_is_refused_at_every_engine(engines: Pair) -> None:
    first, second = engines
    await first.create_index(OLD)
    await first.upsert("docs", "", [record("a", "one")], printed("old", 2))
    plan = QueryPlan(5, np.ones(2, np.float32), embedded_by=printed("old", 2))
    assert len((await second.query("docs", "", plan)).matches) == 1
    await first.begin_reembedding("docs", NEW, printed("new", 3))
    assert await second.reembedding("docs") is not None
    (text,) = await second.texts_to_reembed("docs", 10)
    new = [ReembeddedText(text, np.ones(3, np.float32), False)]
    assert await second.keep_reembedded("docs", printed("new", 3), new)
    assert not await second.keep_reembedded("docs", printed("other", 3), new), "that is not where it leads"
    assert await first.finish_reembedding("docs")
    with pytest.raises(EmbeddingMismatch):
        await second.query("docs", "", plan)
    assert second.index("docs").spec == NEW
    with pytest.raises(EmbeddingMismatch):
        await second.upsert("docs", "", [record("b", "two")], printed("old", 2))
    await second.upsert("docs", "", [record("b", "two", 3)], printed("new", 3))
    assert [each.id for each in (await first.page("docs", "", PagePlan(10))).records] == ["a", "b"]
    assert await second.reembedding("docs") is None
