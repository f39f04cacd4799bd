"""What every storage engine promises of pages, updates and namespaces."""

from typing import Any

import numpy as np
import pytest
from pinyon import filters
from pinyon.domain import (
    EmbedSpec,
    Fingerprint,
    IndexSpec,
    PagePlan,
    QueryPlan,
    Record,
    Selection,
    SparseVector,
    UpdatePlan,
)
from pinyon.errors import AlreadyExists, EmbeddingMismatch, InvalidArgument, NotFound
from pinyon.search import token_codes
from pinyon.storage.engine import Engine

from tests.storage.conftest import Open

pytestmark = pytest.mark.anyio

SPEC = IndexSpec("docs", 2, "cosine")
X, Y = np.eye(2, dtype=np.float32)
IN_BYTE_ORDER = ["B", "a", "a/1", "a/2", "b", "~", "é", "ü", "\U0001f600"]


def record(id: str, **metadata: Any) -> Record:
    return Record(id, X, metadata)


async def ids(engine: Engine, plan: PagePlan) -> list[str]:
    return [record.id for record in (await engine.page("docs", "n", plan)).records]


async def test_pages_are_in_byte_order_and_follow_each_other(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record(id) for id in reversed(IN_BYTE_ORDER)])
    seen, after = [], ""
    while True:
        page = await engine.page("docs", "n", PagePlan(4, after=after))
        seen += [record.id for record in page.records]
        if not page.more:
            break
        after = seen[-1]
    assert seen == IN_BYTE_ORDER
    assert [id.encode() for id in seen] == sorted(id.encode() for id in seen)


async def test_a_page_has_the_selected_records_with_the_prefix_only(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record(id, even=place % 2 == 0) for place, id in enumerate(IN_BYTE_ORDER)])
    assert await ids(engine, PagePlan(9, prefix="a")) == ["a", "a/1", "a/2"]
    assert await ids(engine, PagePlan(9, Selection(ids=["b", "a/1", "nobody"]))) == ["a/1", "b"]
    condition = filters.parse({"even": True})
    assert await ids(engine, PagePlan(9, Selection(filter=condition), prefix="a")) == ["a/1"]
    assert await ids(engine, PagePlan(9, after="a/1", prefix="a/")) == ["a/2"]


async def test_nothing_begins_with_a_nul(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("a")])
    assert await ids(engine, PagePlan(9, prefix="\0")) == await ids(engine, PagePlan(9, prefix="a\0")) == []
    assert await engine.namespaces("docs", 9, prefix="a\0") == ([], False, 0)


async def test_a_page_says_up_to_which_write_it_shows_everything(engine: Engine) -> None:
    await engine.create_index(SPEC)
    first = await engine.upsert("docs", "n", [record("a"), record("b")])
    page = await engine.page("docs", "n", PagePlan(1))
    assert (page.lsn, page.more) == (first, True)
    second = await engine.delete("docs", "n", Selection(ids=["b"]))
    page = await engine.page("docs", "n", PagePlan(1, after="a"))
    assert (page.records, page.lsn, page.more) == ([], second, False)


async def test_a_page_of_ids_has_no_vectors_and_no_metadata(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record("a", k=1)])
    (whole,) = (await engine.page("docs", "n", PagePlan(1))).records
    assert whole.vector is not None and whole.vector.tolist() == [1.0, 0.0] and whole.metadata == {"k": 1}
    (bare,) = (await engine.page("docs", "n", PagePlan(1, ids_only=True))).records
    assert (bare.id, bare.vector, bare.metadata) == ("a", None, {})


async def test_an_unknown_namespace_has_an_empty_page_and_nothing_to_update(engine: Engine) -> None:
    await engine.create_index(SPEC)
    page = await engine.page("docs", "nowhere", PagePlan(1))
    assert (page.records, page.more) == ([], False)
    assert (await engine.update("docs", "nowhere", UpdatePlan(Selection(), metadata={"k": 1})))[0] == 0
    assert await engine.every_namespace("docs") == []


async def test_an_update_merges_metadata_and_replaces_the_vector(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record("a", k=1, m=1), record("b")])
    count, lsn = await engine.update(
        "docs", "n", UpdatePlan(Selection(ids=["a"]), vector=Y, metadata={"m": 2, "o": "x"})
    )
    answer = await engine.query("docs", "n", QueryPlan(1, vector=Y, include_values=True))
    assert (count, answer.lsn) == (1, lsn)
    (hit,) = answer.matches
    assert (hit.id, hit.metadata, hit.score) == ("a", {"k": 1, "m": 2, "o": "x"}, 1.0)


async def test_an_update_that_makes_one_record_too_large_changes_none(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record("a"), record("b", text="x" * 40)])
    plan = UpdatePlan(Selection(), metadata={"k": "ü"}, max_metadata_bytes=len('{"k":"ü"}'.encode()))
    with pytest.raises(InvalidArgument, match=r"Vector 'b': Metadata size is 60 bytes, .* limit of 10 bytes"):
        await engine.update("docs", "n", plan)
    assert [record.metadata for record in (await engine.page("docs", "n", PagePlan(9))).records] == [
        {},
        {"text": "x" * 40},
    ]
    plan = UpdatePlan(Selection(ids=["a"]), metadata={"k": "ü"}, max_metadata_bytes=10)
    assert (await engine.update("docs", "n", plan))[0] == 1


async def test_an_update_of_more_records_than_allowed_changes_none(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record(id) for id in "abc"])
    with pytest.raises(InvalidArgument, match="selects 3 records; one update can change at most 2"):
        await engine.update("docs", "n", UpdatePlan(Selection(), metadata={"k": 1}, max_records=2))
    assert await engine.count("docs", "n", Selection(filter=filters.parse({"k": 1}))) == 0
    assert (await engine.update("docs", "n", UpdatePlan(Selection(), metadata={"k": 1}, max_records=3)))[0] == 3


async def test_namespaces_are_made_once_listed_in_byte_order_and_deleted_with_their_records(engine: Engine) -> None:
    await engine.create_index(SPEC)
    for name in ("b", "a", "é"):
        await engine.create_namespace("docs", name, {"fields": {"k": {"filterable": True}}} if name == "a" else None)
    with pytest.raises(AlreadyExists):
        await engine.create_namespace("docs", "a", None)
    await engine.upsert("docs", "b", [record("r")])
    listed, more, total = await engine.namespaces("docs", 2)
    assert ([(one.name, one.record_count) for one in listed], more, total) == ([("a", 0), ("b", 1)], True, 3)
    listed, more, total = await engine.namespaces("docs", 2, after="b")
    assert ([one.name for one in listed], more, total) == (["é"], False, 3)
    assert (await engine.namespace("docs", "a")).schema == {"fields": {"k": {"filterable": True}}}
    await engine.delete_namespace("docs", "b")
    with pytest.raises(NotFound):
        await engine.namespace("docs", "b")
    with pytest.raises(NotFound):
        await engine.delete_namespace("docs", "b")
    assert (await engine.query("docs", "b", QueryPlan(1, vector=X))).matches == []


async def test_an_empty_namespace_stays_when_its_records_are_deleted(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record("a")])
    await engine.delete("docs", "n", Selection())
    assert [(one.name, one.record_count) for one in await engine.every_namespace("docs")] == [("n", 0)]


async def test_pages_and_namespaces_are_there_after_a_restart(open_engine: Open) -> None:
    engine = await open_engine()
    await engine.create_index(SPEC)
    await engine.upsert("docs", "n", [record(id) for id in ("b", "a")])
    await engine.create_namespace("docs", "empty", None)
    before = await engine.page("docs", "n", PagePlan(1, ids_only=True))
    await engine.close()
    engine = await open_engine()
    assert await engine.page("docs", "n", PagePlan(1, ids_only=True)) == before
    assert [one.name for one in await engine.every_namespace("docs")] == ["empty", "n"]
    await engine.close()


async def test_a_complete_page_has_everything_that_is_stored_with_a_record(engine: Engine) -> None:
    embed = EmbedSpec("m", "text", sparse_model="s", token_vectors="stored")
    embedded_by = Fingerprint("m", "m", "1", "mean", "", "", 2, "s", "1")
    learned = SparseVector(np.uint32([3, 1]), np.float32([0.5, 2]))
    codes = token_codes.encode([np.ones((3, 8), np.float32)])
    await engine.create_index(IndexSpec("docs", 2, "cosine", embed))
    embedded = Record("a", X, {"text": "one"}, truncated=True, learned=learned, token_codes=codes)
    await engine.upsert("docs", "n", [embedded, record("b", text="two")], embedded_by)
    await engine.upsert("docs", "n", [record("c", text="three")])
    first, *others = (await engine.page("docs", "n", PagePlan(9, complete=True))).records
    assert first.learned is not None
    assert (first.learned.indices.tolist(), first.learned.values.tolist()) == ([3, 1], [0.5, 2])
    assert (first.truncated, first.token_codes, first.foreign) == (True, codes, False)
    assert [(each.truncated, each.learned, each.token_codes, each.foreign) for each in others] == [
        (False, None, None, False),
        (False, None, None, True),
    ]
    plain = (await engine.page("docs", "n", PagePlan(1))).records[0]
    assert (plain.learned, plain.token_codes) == (None, None)
    assert (await engine.page("docs", "n", PagePlan(1, after="c", complete=True))).records == []


async def test_an_upsert_of_no_records_makes_the_namespace_and_keeps_what_embeds(engine: Engine) -> None:
    await engine.create_index(IndexSpec("docs", 2, "cosine", EmbedSpec("m", "text")))
    embedded_by = Fingerprint("m", "m", "1", "mean", "", "", 2)
    await engine.upsert("docs", "n", [], embedded_by)
    assert [(each.name, each.record_count) for each in await engine.every_namespace("docs")] == [("n", 0)]
    assert await engine.fingerprint("docs") == embedded_by
    with pytest.raises(EmbeddingMismatch):
        await engine.upsert("docs", "n", [record("a")], Fingerprint("m", "m", "2", "mean", "", "", 2))
