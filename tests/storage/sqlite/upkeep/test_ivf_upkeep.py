"""Approximate nearest neighbours: exact until an inverted file is there, near to exact after, and never wrong scores."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pinyon.domain import IndexSpec, Metric, QueryPlan, Record, Selection, UpdatePlan
from pinyon.filters import parse
from pinyon.storage.recall import RecallSampler
from pinyon.storage.shared.row_sets import bits_of
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.ivf import ivf_index
from pinyon.storage.sqlite.ivf.ivf_index import Builder, IvfIndex
from pinyon.storage.sqlite.options import Tuning
from pinyon.storage.sqlite.vectors import vector_scan

from tests.running import GIVEN_UP_S
from tests.storage.sqlite.index_file import read

pytestmark = pytest.mark.anyio

DIMENSION, COUNT = 24, 3_000
FROM = 2_000
"""Records from which on a namespace gets an inverted file here."""
TUNING: dict[str, Any] = {"quiet_s": 0}
"""Of every engine here; see one_cell_to()."""


@pytest.fixture(autouse=True, params=[0, 1_000_000], ids=["many cells", "one cell"])
def one_cell_to(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds for inverted files of both kinds."""
    monkeypatch.setitem(TUNING, "one_cell_to", request.param)


def clustered(count: int, seed: int, dimension: int = DIMENSION) -> np.ndarray:
    """Vectors in clusters of about thirty, as texts on the same matter are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((100, dimension))
    return (centres[random.integers(100, size=count)] + 0.4 * random.standard_normal((count, dimension))).astype(
        np.float32
    )


def records(vectors: np.ndarray, first: int = 0) -> list[Record]:
    return [Record(f"r{place}", vector, {"n": place % 100}) for place, vector in enumerate(vectors, start=first)]


async def opened(folder: Path, tuning: dict[str, Any] | None = None, **options: Any) -> SqliteEngine:
    told = {"approximate_from": FROM, "tuning": Tuning(**TUNING | (tuning or {})), **options}
    return await SqliteEngine.open_folder(folder, 2, 2**28, **told)


async def filled(folder: Path, metric: Metric = "cosine", **options: Any) -> SqliteEngine:
    engine = await opened(folder, **options)
    await engine.create_index(IndexSpec("docs", DIMENSION, metric))
    await engine.upsert("docs", "a", records(clustered(COUNT, 1)))
    await engine.upkeep_done()
    return engine


def noted(folder: Path) -> int:
    """Writes whose changed rows are noted down."""
    found: int = read(folder, "docs", "SELECT count(*) FROM changes")
    return found


async def recall(engine: SqliteEngine, k: int = 10, filter: dict[str, object] | None = None) -> float:
    """Mean recall of 50 queries, all of which must have been answered approximately."""
    found = []
    for query in clustered(50, 2):
        plan = QueryPlan(k, vector=query, filter=None if filter is None else parse(filter))
        answer = await engine.query("docs", "a", plan)
        exact = await engine.query("docs", "a", QueryPlan(k, vector=query, filter=plan.filter, exact=True))
        assert answer.approximate and not exact.approximate
        scores = {match.id: match.score for match in exact.matches}
        assert len(answer.matches) == len(exact.matches)
        assert all(match.score == scores[match.id] for match in answer.matches if match.id in scores)
        assert [m.score for m in answer.matches] == sorted((m.score for m in answer.matches), reverse=True)
        found.append(len({match.id for match in answer.matches} & set(scores)) / len(scores))
    return float(np.mean(found))


@pytest.mark.parametrize("metric", ["cosine", "dotproduct"])
async def test_most_of_the_best_are_found_with_exact_scores(tmp_path: Path, metric: Metric) -> None:
    engine = await filled(tmp_path, metric)
    assert await recall(engine) >= 0.98
    assert await recall(engine, k=50) >= 0.98
    assert await recall(engine, filter={"n": {"$lt": 50}}) >= 0.98
    assert await recall(engine, filter={"n": {"$lt": 10}}) >= 0.96
    await engine.close()


async def test_squared_distances_work_too(tmp_path: Path) -> None:
    engine = await filled(tmp_path, "euclidean")
    query = clustered(1, 2)[0]
    answer = await engine.query("docs", "a", QueryPlan(10, vector=query))
    exact = await engine.query("docs", "a", QueryPlan(10, vector=query, exact=True))
    assert answer.approximate
    assert {m.id for m in answer.matches} == {m.id for m in exact.matches}
    await engine.close()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions at which inverted files were built."""
    versions = []

    class Noted(Builder):
        def finish(self, version: int) -> IvfIndex | None:
            versions.append(version)
            return super().finish(version)

    monkeypatch.setattr("pinyon.storage.sqlite.upkeep.ivf_upkeep.Builder", Noted)
    return versions


class Clock:
    """Stands for the module time in the upkeep: it stands still until it is told to run."""

    def __init__(self) -> None:
        self.stopped_at: float | None = time.monotonic()

    def monotonic(self) -> float:
        return time.monotonic() if self.stopped_at is None else self.stopped_at


async def test_nothing_is_built_while_a_namespace_is_being_filled(
    tmp_path: Path, built: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("pinyon.storage.sqlite.upkeep.write_debounce.time", clock)
    engine = await opened(tmp_path, tuning={"quiet_s": 0.1})
    await engine.create_index(IndexSpec("docs", DIMENSION, "cosine"))
    vectors = clustered(COUNT + 500, 1)
    for start in range(0, len(vectors), 500):
        await engine.upsert("docs", "a", records(vectors[start : start + 500], start))
    assert built == []
    clock.stopped_at = None
    await engine.upkeep_done()
    assert len(built) == 1
    assert await recall(engine) >= 0.98
    await engine.close()


async def test_a_namespace_that_is_filled_all_the_time_is_built_all_the_same(tmp_path: Path, built: list[int]) -> None:
    engine = await opened(tmp_path, tuning={"quiet_s": 60, "patience_s": 0})
    await engine.create_index(IndexSpec("docs", DIMENSION, "cosine"))
    await engine.upsert("docs", "a", records(clustered(COUNT, 1)))
    async with asyncio.timeout(GIVEN_UP_S):
        while not built:  # each time the last record is written again, and then nothing is quiet
            await engine.upsert("docs", "a", records(clustered(1, 1), COUNT))
    await engine.close()


async def test_small_namespaces_and_few_kept_records_are_compared_exactly(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    await engine.upsert("docs", "small", records(clustered(FROM // 2, 3)))
    await engine.upkeep_done()
    query = clustered(1, 2)[0]
    assert not (await engine.query("docs", "small", QueryPlan(10, vector=query))).approximate
    few = await engine.query("docs", "a", QueryPlan(50, vector=query, filter=parse({"n": 7})))
    assert len(few.matches) == COUNT // 100
    every = await engine.query("docs", "a", QueryPlan(COUNT + 5, vector=query))
    assert len(every.matches) == COUNT
    await engine.close()


async def test_every_write_is_seen_by_the_next_query_before_anything_has_followed(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    engine.upkeep.schedule = lambda *_: None  # type: ignore[method-assign]
    target = clustered(1, 9)[0]
    await engine.upsert("docs", "a", [Record("new", target, {"n": 1}), Record("r5", target, {"n": 1})])
    await engine.update("docs", "a", UpdatePlan(Selection(ids=["r6"]), vector=target))
    answer = await engine.query("docs", "a", QueryPlan(3, vector=target))
    assert answer.approximate
    assert {match.id for match in answer.matches} == {"new", "r5", "r6"}
    kept = await engine.query("docs", "a", QueryPlan(2, vector=target, filter=parse({"n": {"$lt": 2}})))
    assert {match.id for match in kept.matches} == {"new", "r5"}
    await engine.delete("docs", "a", Selection(ids=["new", "r5"]))
    answer = await engine.query("docs", "a", QueryPlan(2, vector=target))
    assert answer.approximate
    assert answer.matches[0].id == "r6"
    assert {"new", "r5"}.isdisjoint(match.id for match in answer.matches)
    await engine.close()


async def test_after_many_changes_it_has_followed(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    await engine.delete("docs", "a", Selection(filter=parse({"n": {"$lt": 10}})))
    await engine.upsert("docs", "a", records(clustered(500, 4), first=1_000))
    await engine.upsert("docs", "a", records(clustered(500, 5), first=COUNT))
    await engine.upkeep_done()
    assert await recall(engine) >= 0.98
    await engine.close()


async def test_a_namespace_that_shrinks_or_is_emptied_is_searched_exactly_again(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    assert list((tmp_path / "indexes").glob("docs.ns*"))
    await engine.delete("docs", "a", Selection(filter=parse({"n": {"$gte": 10}})))
    await engine.upkeep_done()
    query = clustered(1, 2)[0]
    answer = await engine.query("docs", "a", QueryPlan(1_000, vector=query))
    assert not answer.approximate
    assert len(answer.matches) == COUNT // 10
    assert not list((tmp_path / "indexes").glob("docs.ns*"))
    await engine.delete("docs", "a", Selection())
    await engine.upsert("docs", "a", records(clustered(COUNT, 6)))
    answer = await engine.query("docs", "a", QueryPlan(10, vector=query))
    assert len(answer.matches) == 10
    await engine.upkeep_done()
    assert await recall(engine) >= 0.98
    await engine.close()


async def test_a_namespace_deleted_and_made_again_has_nothing_of_the_old_one(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    await engine.delete_namespace("docs", "a")
    await engine.upsert("docs", "b", records(clustered(FROM + 10, 7)))
    query = clustered(1, 2)[0]
    answer = await engine.query("docs", "b", QueryPlan(FROM * 2, vector=query))
    assert len(answer.matches) == FROM + 10
    await engine.close()


async def test_the_next_start_catches_up_instead_of_building_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await filled(tmp_path)
    engine.upkeep.schedule = lambda *_: None  # type: ignore[method-assign]
    target = clustered(1, 9)[0]
    await engine.upsert("docs", "a", [Record("late", target, {"n": 1})])  # after it was saved
    await engine.close()
    monkeypatch.setattr("pinyon.storage.sqlite.upkeep.ivf_upkeep.Builder", None)
    engine = await opened(tmp_path)
    await engine.upkeep_done()
    assert await recall(engine) >= 0.98
    answer = await engine.query("docs", "a", QueryPlan(1, vector=target))
    assert answer.matches[0].id == "late"
    await engine.close()


@pytest.mark.parametrize("damage", ["note", "file", "codes", "missing"])
async def test_a_damaged_or_missing_file_is_built_anew(tmp_path: Path, damage: str) -> None:
    engine = await filled(tmp_path)
    await engine.close()
    files = {path.suffix[1:]: path for path in (tmp_path / "indexes").glob("docs.ns*")}
    assert set(files) == {"json", "ivf", "codes"}
    if damage == "missing":
        files["ivf"].unlink()
    else:
        files["json" if damage == "note" else "ivf" if damage == "file" else "codes"].write_bytes(b"PK\x03\x04 no")
    engine = await opened(tmp_path)
    await engine.upkeep_done()
    assert await recall(engine) >= 0.98
    await engine.close()


async def test_switched_off_nothing_is_left_and_nothing_is_noted_down(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    await engine.close()
    engine = await opened(tmp_path, approximate_from=None)
    assert not list((tmp_path / "indexes").glob("docs.ns*"))
    await engine.upsert("docs", "a", records(clustered(100, 4)))
    assert noted(tmp_path) == 0
    assert not (await engine.query("docs", "a", QueryPlan(10, vector=clustered(1, 2)[0]))).approximate
    await engine.close()


async def test_a_namespace_that_is_deleted_takes_its_files_along(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    await engine.delete_namespace("docs", "a")
    await engine.upkeep_done()
    assert not list((tmp_path / "indexes").glob("docs.ns*"))
    assert noted(tmp_path) == 0
    await engine.close()


async def test_where_too_much_was_deleted_to_follow_and_too_little_is_left_nothing_is_noted_down(
    tmp_path: Path,
) -> None:
    engine = await filled(tmp_path)
    await engine.delete("docs", "a", Selection(filter=parse({"n": {"$lt": 55}})))
    await engine.upkeep_done()
    await engine.upsert("docs", "a", records(clustered(10, 4)))
    await engine.upkeep_done()
    assert noted(tmp_path) == 0
    await engine.close()


async def test_what_was_saved_is_noted_down_no_longer(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    await engine.upsert("docs", "a", records(clustered(10, 4)))
    await engine.upkeep_done()
    assert noted(tmp_path) == 1
    await engine.upsert("docs", "a", records(clustered(COUNT // 5, 4)))
    await engine.upkeep_done()
    assert noted(tmp_path) == 0
    await engine.close()


async def test_what_cannot_be_built_is_searched_exactly_and_not_tried_at_every_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []

    def broken(*_: object) -> None:
        tried.append(1)
        raise MemoryError

    monkeypatch.setattr("pinyon.storage.sqlite.upkeep.ivf_upkeep.Builder", broken)
    engine = await filled(tmp_path)
    for _ in range(3):
        await engine.upsert("docs", "a", records(clustered(10, 4)))
        await engine.upkeep_done()
    assert len(tried) == 1
    assert noted(tmp_path) == 0
    assert not (await engine.query("docs", "a", QueryPlan(10, vector=clustered(1, 2)[0]))).approximate
    await engine.close()
    assert "no inverted file for namespace 'a'" in caplog.text


async def test_it_goes_with_its_index(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    await engine.delete_index("docs")
    assert list((tmp_path / "indexes").iterdir()) == []
    await engine.close()


async def test_vectors_that_codes_are_too_coarse_for_are_compared_exactly(tmp_path: Path) -> None:
    engine = await filled(tmp_path, tuning={"most_full_scans": -1.0})  # no codes are that good
    answer = await engine.query("docs", "a", QueryPlan(10, vector=clustered(1, 2)[0]))
    assert not answer.approximate
    assert len(answer.matches) == 10
    await engine.close()


async def test_recall_is_measured_in_idle_time(tmp_path: Path) -> None:
    engine = await filled(tmp_path)
    sampler = RecallSampler(engine, 1.0, 0.98)
    for query in clustered(5, 2):
        await sampler.query("docs", "a", QueryPlan(10, vector=query))
    assert sampler.samples() == []
    await sampler.compared()
    (sample,) = sampler.samples()
    assert (sample.index, sample.namespace, sample.queries) == ("docs", "a", 5)
    assert 0.95 <= sample.recall <= 1
    await engine.close()


async def test_vectors_in_memory_serve_on_after_a_write_but_for_what_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await filled(tmp_path, cache_bytes=2**24)
    query, k = clustered(1, 2)[0], 100  # as many as are sooner kept in memory than read one by one
    plan = QueryPlan(k, vector=query, filter=parse({"n": {"$lt": 4}}))
    for _ in range(2):
        await engine.query("docs", "a", plan)
    assert engine.caches.vectors.nbytes > 0
    monkeypatch.setattr("pinyon.storage.sqlite.vectors.vector_source._read_all", None)  # all of it would be read again
    engine.upkeep.schedule = lambda *_: None  # type: ignore[method-assign]
    await engine.upsert("docs", "a", [Record("new", query, {"n": 1}), Record("r2", -query, {"n": 1})])
    await engine.delete("docs", "a", Selection(ids=["r101"]))
    await engine.update("docs", "a", UpdatePlan(Selection(ids=["r3"]), vector=query))
    answer = await engine.query("docs", "a", plan)
    exact = await engine.query("docs", "a", QueryPlan(k, vector=query, filter=plan.filter, exact=True))
    assert answer.approximate
    assert answer.matches == exact.matches
    assert [match.id for match in answer.matches[:2]] == ["new", "r3"]
    found = {match.id for match in answer.matches}
    assert len(found) == k and not {"r2", "r101"} & found
    await engine.close()


async def test_rows_that_are_being_taken_in_are_found_by_filters_that_know_them_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows come in by parts; between two of them a query may ask about rows that are not noted yet."""
    engine = await filled(tmp_path)
    (entry,) = engine.upkeep.ivf.entries.values()
    file = entry.file
    vectors = clustered(600, 5)
    vectors[:40] = (
        np.random.default_rng(1).standard_normal((40, DIMENSION)) * 9
    )  # badly coded ones are asked about, too
    file._bad[1], file._bad_rows = True, np.array([1])
    note, found = file._mark, []

    def asked_before(*changes: np.ndarray) -> None:
        found.append(file._candidates(ivf_index._prepared_one(vectors[50], "cosine"), 10, 1.0, everything, 0.98))
        note(*changes)

    rows = np.arange(COUNT + 1, COUNT + 601)
    everything = bits_of(np.arange(COUNT + 700))
    monkeypatch.setattr(file, "_mark", asked_before)
    file.replace(rows, rows, vectors, 99)
    assert len(found) == 1
    await engine.close()


async def test_what_the_inverted_file_cannot_answer_is_not_compared_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await filled(tmp_path, inline_read_s=10.0, cache_bytes=2**24)
    plan, threads = QueryPlan(10, vector=clustered(1, 2)[0]), []
    for _ in range(2):  # quick, and noted as that; vectors are in memory
        assert (await engine.query("docs", "a", plan)).approximate
    compare = vector_scan._finalists

    def noted(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return compare(*arguments)

    monkeypatch.setattr(vector_scan, "_finalists", noted)
    monkeypatch.setattr(IvfIndex, "candidates", lambda *_: None)
    assert len((await engine.query("docs", "a", plan)).matches) == 10
    assert len(threads) == 1 and threads[0] is not threading.main_thread()
    await engine.close()


async def test_an_inverted_file_that_is_distrusted_while_it_is_caught_up_with_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await filled(tmp_path)
    (before,) = engine.upkeep.ivf.entries.values()
    caught_up = engine.upkeep.ivf._caught_up

    async def distrusted_meanwhile(*arguments: Any) -> Any:
        engine.answer_exactly("docs", "a")
        return await caught_up(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(engine.upkeep.ivf, "_caught_up", distrusted_meanwhile)
        await engine.upsert("docs", "a", records(clustered(50, 3), COUNT))
        await engine.upkeep_done()
    assert before not in engine.upkeep.ivf.entries.values()
    await engine.close()
