"""What every storage engine promises."""

import asyncio
from typing import Any

import numpy as np
import pytest
from pinyon import filters
from pinyon.domain import CatalogueValue, Fingerprint, IndexSpec, Note, QueryPlan, Record
from pinyon.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, VersionConflict
from pinyon.storage.engine import Engine

from tests.storage.conftest import Open

pytestmark = pytest.mark.anyio

SPEC = IndexSpec("docs", 4, "cosine")
X, Y, Z = np.eye(4, dtype=np.float32)[:3]
PRINT = Fingerprint("m", "m", "1", "mean", "", "", 4)


def record(id: str, vector: np.ndarray[Any, Any] = X, **metadata: Any) -> Record:
    return Record(id, vector, metadata)


async def ids(engine: Engine, namespace: str = "a", raw: dict[str, Any] | None = None, top_k: int = 100) -> list[str]:
    condition = filters.parse(raw) if raw else None
    answer = await engine.query("docs", namespace, QueryPlan(top_k, vector=X, filter=condition))
    return [match.id for match in answer.matches]


async def test_a_query_returns_the_nearest_first_with_their_fields(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("far", Y), record("near", X + 0.1 * Y, n=1), record("same", X, t="ü")])
    matches = (await engine.query("docs", "a", QueryPlan(2, vector=X))).matches
    assert [(m.id, m.metadata) for m in matches] == [("same", {"t": "ü"}), ("near", {"n": 1})]
    assert matches[0].score == 1.0


async def test_a_query_by_id_finds_the_record_itself_too(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("x", X), record("y", Y)])
    matches = (await engine.query("docs", "a", QueryPlan(5, id="y"))).matches
    assert [m.id for m in matches] == ["y", "x"]


async def test_unknown_namespaces_and_ids_have_no_matches(engine: Engine) -> None:
    await engine.create_index(SPEC)
    assert await ids(engine, "nowhere") == []
    await engine.upsert("docs", "a", [record("x")])
    assert (await engine.query("docs", "a", QueryPlan(5, id="nobody"))).matches == []


async def test_an_unknown_index_is_not_found(engine: Engine) -> None:
    with pytest.raises(NotFound):
        await engine.query("nothing", "a", QueryPlan(1, vector=X))


async def test_an_index_is_made_once(engine: Engine) -> None:
    await engine.create_index(SPEC)
    with pytest.raises(AlreadyExists):
        await engine.create_index(SPEC)
    assert [index.spec for index in engine.indexes()] == [SPEC]


async def test_namespaces_do_not_see_each_other(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("same", X, where="a")])
    await engine.upsert("docs", "b", [record("same", Y, where="b"), record("other", Z)])
    assert await ids(engine, "a") == ["same"]
    assert await ids(engine, "b", {"where": "a"}) == []


async def test_an_upsert_replaces_vector_and_fields(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("r", X, old=1, both="x")])
    await engine.upsert("docs", "a", [record("r", Y, new=1, both="y")])
    (match,) = (await engine.query("docs", "a", QueryPlan(5, vector=Y))).matches
    assert (match.score, match.metadata) == (1.0, {"new": 1, "both": "y"})
    assert await ids(engine, raw={"old": {"$exists": True}}) == []
    assert await ids(engine, raw={"both": "x"}) == []
    assert await ids(engine, raw={"new": 1, "both": "y"}) == ["r"]


async def test_the_last_of_equal_ids_in_a_batch_wins(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("r", X, n=1), record("r", Y, n=2)])
    assert [m.metadata for m in (await engine.query("docs", "a", QueryPlan(5, vector=Y))).matches] == [{"n": 2}]


async def test_ties_are_broken_by_id_the_same_way_every_time(engine: Engine) -> None:
    await engine.create_index(SPEC)
    names = [f"r{n:03}" for n in range(200)]
    rng = np.random.default_rng(0)
    for name in rng.permutation(names):
        await engine.upsert("docs", "a", [record(str(name), X)])
    for top_k in (1, 7, 200):
        assert await ids(engine, top_k=top_k) == names[:top_k]


async def test_filters_apply_before_ranking(engine: Engine) -> None:
    await engine.create_index(SPEC)
    near = [record(f"near{n}", X, kind="near") for n in range(300)]
    await engine.upsert("docs", "a", [*near, record("far", Y, kind="far")])
    assert await ids(engine, raw={"kind": "far"}, top_k=1) == ["far"]


async def test_every_write_has_a_higher_number_and_reads_see_it(engine: Engine) -> None:
    await engine.create_index(SPEC)
    first = await engine.upsert("docs", "a", [record("x")])
    second = await engine.upsert("docs", "b", [record("x")])
    assert second > first
    assert (await engine.query("docs", "a", QueryPlan(1, vector=X))).lsn == second


async def test_the_size_of_a_namespace_follows_its_records(engine: Engine) -> None:
    await engine.create_index(SPEC)

    async def size() -> int:
        return (await engine.query("docs", "a", QueryPlan(1, vector=X))).namespace_bytes

    await engine.upsert("docs", "a", [record("r", X, t="long" * 100)])
    large = await size()
    await engine.upsert("docs", "a", [record("r", X)])
    assert large - await size() == len('"t":""') + 400
    assert await size() == len("r") + len("{}") + 16


async def test_a_failed_batch_leaves_nothing(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("kept", X)])
    wrong = Record("wrong", np.ones(3, np.float32), {"t": "x"})  # the services refuse this long before
    with pytest.raises(Exception):  # noqa: B017 - which error does not matter, what is left does
        await engine.upsert("docs", "a", [record("new", X, t="x"), record("kept", Y, t="x"), wrong])
    assert await ids(engine) == ["kept"]
    assert await ids(engine, raw={"t": "x"}) == []


async def test_everything_is_there_after_a_restart(open_engine: Open) -> None:
    engine = await open_engine()
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("x", X, n=1)], PRINT)
    before = await engine.query("docs", "a", QueryPlan(5, vector=X))
    await engine.close()
    engine = await open_engine()
    assert [index.spec for index in engine.indexes()] == [SPEC]
    assert await engine.fingerprint("docs") == PRINT
    assert await engine.query("docs", "a", QueryPlan(5, vector=X)) == before
    assert await engine.upsert("docs", "a", [record("y", X)], PRINT) == before.lsn + 1
    await engine.close()


async def test_vectors_of_two_models_are_never_mixed(engine: Engine) -> None:
    await engine.create_index(SPEC)
    assert await engine.fingerprint("docs") is None
    await engine.upsert("docs", "a", [record("x")], PRINT)
    other = Fingerprint("m", "stand-in", "1", "mean", "", "", 4)
    with pytest.raises(FailedPrecondition, match="until it is re-embedded"):
        await engine.upsert("docs", "a", [record("y")], other)
    assert await ids(engine) == ["x"]


async def test_reads_go_on_while_others_write(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("first", X)])

    async def write(worker: int) -> None:
        for n in range(20):
            await engine.upsert("docs", "a", [record(f"w{worker}-{n}-{i}", Y) for i in range(10)])

    async def read() -> None:
        for _ in range(40):
            found = await ids(engine, top_k=10_000)
            assert found[0] == "first"
            assert len(found) % 10 == 1, "a batch was seen by half"

    await asyncio.gather(*(write(n) for n in range(4)), *(read() for _ in range(4)))
    assert len(await ids(engine, top_k=10_000)) == 801


async def test_values_of_the_services_outlast_a_restart(open_engine: Open) -> None:
    engine = await open_engine()
    assert await engine.catalogue_values() == {}
    await engine.put_catalogue_value("a", "first", 0)
    await engine.put_catalogue_value("a", "second", 1)
    await engine.put_catalogue_value("b", "ü", 0)
    await engine.close()
    engine = await open_engine()
    assert await engine.catalogue_values() == {"a": CatalogueValue("second", 2), "b": CatalogueValue("ü", 1)}
    await engine.close()


async def test_of_two_writers_of_one_value_one_is_told_to_read_it_again(engine: Engine) -> None:
    for version in (0, 1):
        texts = ("this", "that")
        done = await asyncio.gather(
            *(engine.put_catalogue_value("a", text, version) for text in texts), return_exceptions=True
        )
        (stored,) = [text for text, error in zip(texts, done, strict=True) if error is None]
        assert sum(isinstance(error, VersionConflict) for error in done) == 1
        assert await engine.catalogue_values() == {"a": CatalogueValue(stored, version + 1)}
    with pytest.raises(VersionConflict, match="at version 2, not 7"):
        await engine.put_catalogue_value("a", "other", 7)
    with pytest.raises(VersionConflict):
        await engine.put_catalogue_value("new", "other", 1)


async def test_notes_of_an_index_outlast_a_restart_and_go_with_it(open_engine: Open) -> None:
    engine = await open_engine()
    await engine.create_index(SPEC)
    await engine.put_note("docs", Note("b", "1"))
    await engine.put_note("docs", Note("a", "2"))
    await engine.put_note("docs", Note("b", "3"))
    await engine.close()
    engine = await open_engine()
    assert await engine.notes("docs") == [Note("a", "2"), Note("b", "3")]
    await engine.put_note("docs", Note("a", None))
    assert await engine.notes("docs") == [Note("b", "3")]
    await engine.delete_index("docs")
    await engine.create_index(SPEC)
    assert await engine.notes("docs") == []
    await engine.close()


async def test_a_note_is_stored_with_the_records_or_not_at_all(engine: Engine) -> None:
    await engine.create_index(SPEC)
    await engine.upsert("docs", "a", [record("x")], note=Note("n", "1"))
    with pytest.raises(InvalidArgument):
        await engine.upsert("docs", "a", [record("y", np.ones(3, np.float32))], note=Note("n", "2"))
    assert await engine.notes("docs") == [Note("n", "1")]
    assert await ids(engine) == ["x"]
