"""Random upserts, updates, deletes and restarts against a dict, and what must hold whatever is stored."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pinyon import filters
from pinyon.domain import IndexSpec, PagePlan, QueryPlan, Record, Selection, SparseVector, UpdatePlan
from pinyon.errors import NotFound
from pinyon.search.ranking import exact_scores
from pinyon.storage.engine import Engine
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.options import Tuning

from tests.examples import examples
from tests.storage.engines import DIVIDED, ENGINES, EngineKind, every_engine

NAMES = st.sampled_from(["", "a", "b/c"])
IDS = st.sampled_from([f"id{n}" for n in range(12)])
VECTORS = st.sampled_from([(1.0, 0.0), (0.0, 1.0), (0.6, 0.8), (-1.0, 0.5), (0.0, 0.0)])
SPARSE = st.none() | st.dictionaries(st.integers(0, 4), st.sampled_from([0.5, 2.0, -1.0]), min_size=1, max_size=3)
METADATA = st.dictionaries(
    st.sampled_from(["k", "m"]), st.sampled_from([1, 2.5, True, "x", "y"]) | st.just(["x", "y"]), max_size=2
)
FILTERS = st.sampled_from(
    [{"k": "x"}, {"k": {"$ne": "x"}}, {"m": {"$gt": 1}}, {"k": {"$exists": False}}, {"$or": [{"k": 1}, {"m": True}]}]
)
QUERY = np.array([0.3, 0.9], np.float32)
TERMS = {1: 2.0, 3: 1.0}
Held = tuple[tuple[float, float], dict[int, float] | None, dict[str, Any]]


def sparse_of(held: dict[int, float] | None) -> SparseVector | None:
    if held is None:
        return None
    return SparseVector(np.array(list(held), np.uint32), np.array(list(held.values()), np.float32))


class AgainstADict(RuleBasedStateMachine):
    """One dotproduct index of dense and sparse values, whose meaning is `there`."""

    kind: ClassVar[EngineKind] = ENGINES["sqlite"]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.there: dict[str, dict[str, Held]] = {}
        self.lsn = 0
        self.engine: Engine = self.run(self.open())
        self.run(self.engine.create_index(IndexSpec("docs", 2, "dotproduct")))

    def open(self) -> Any:
        return self.kind.open(self.folder)

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        self.run(self.engine.close())
        self.loop.close()
        assert self.kind.problems(self.folder, "docs") == []
        shutil.rmtree(self.folder)

    @rule(name=NAMES, rows=st.lists(st.tuples(IDS, VECTORS, SPARSE, METADATA), min_size=1, max_size=5))
    def upsert(self, name: str, rows: list[Any]) -> None:
        records = [Record(id, np.array(v, np.float32), dict(m), sparse_of(s)) for id, v, s, m in rows]
        lsn = self.run(self.engine.upsert("docs", name, records))
        assert lsn > self.lsn
        self.lsn = lsn
        self.there.setdefault(name, {}).update({id: (v, s, dict(m)) for id, v, s, m in rows})

    @rule(name=NAMES, id=IDS, vector=st.none() | VECTORS, sparse=SPARSE, metadata=st.none() | METADATA)
    def update(self, name: str, id: str, vector: Any, sparse: Any, metadata: Any) -> None:
        new = None if vector is None else np.array(vector, np.float32)
        plan = UpdatePlan(Selection(ids=[id]), new, sparse_of(sparse), metadata)
        count, _ = self.run(self.engine.update("docs", name, plan))
        held = self.there.get(name, {}).get(id)
        assert count == (held is not None)
        if held is not None:
            self.there[name][id] = (
                held[0] if vector is None else vector,
                held[1] if sparse is None else sparse,
                {**held[2], **(metadata or {})},
            )

    @rule(name=NAMES, raw=FILTERS, metadata=METADATA)
    def update_by_filter(self, name: str, raw: Any, metadata: Any) -> None:
        condition = filters.parse(raw)
        assert condition is not None
        plan = UpdatePlan(Selection(filter=condition), metadata=metadata)
        count, _ = self.run(self.engine.update("docs", name, plan))
        kept = [id for id, held in self.there.get(name, {}).items() if filters.matches(condition, held[2])]
        assert count == len(kept)
        for id in kept:
            vector, sparse, held = self.there[name][id]
            self.there[name][id] = vector, sparse, {**held, **metadata}

    @rule(name=NAMES, ids=st.none() | st.lists(IDS, min_size=1, max_size=4), raw=st.none() | FILTERS)
    def delete(self, name: str, ids: Any, raw: Any) -> None:
        condition = filters.parse(raw) if raw is not None and ids is None else None
        selection = Selection(ids, condition)
        if name not in self.there:
            with pytest.raises(NotFound):
                self.run(self.engine.delete("docs", name, selection))
            return
        self.run(self.engine.delete("docs", name, selection))
        self.there[name] = {
            id: held
            for id, held in self.there[name].items()
            if (ids is not None and id not in ids)
            or (condition is not None and not filters.matches(condition, held[2]))
        }

    @rule(name=NAMES)
    def delete_namespace(self, name: str) -> None:
        if name in self.there:
            self.run(self.engine.delete_namespace("docs", name))
            del self.there[name]

    @rule()
    def restart(self) -> None:
        self.run(self.engine.close())
        self.engine = self.run(self.open())

    @rule(name=NAMES, raw=st.none() | FILTERS, top_k=st.integers(1, 15))
    def query(self, name: str, raw: Any, top_k: int) -> None:
        condition = None if raw is None else filters.parse(raw)
        plan = QueryPlan(top_k, QUERY, sparse_of(TERMS), filter=condition)
        matches = self.run(self.engine.query("docs", name, plan)).matches
        scored = []
        for id, (vector, sparse, held) in self.there.get(name, {}).items():
            if condition is None or filters.matches(condition, held):
                more = sum(TERMS.get(term, 0.0) * weight for term, weight in (sparse or {}).items())
                (score,) = exact_scores("dotproduct", np.array([vector], np.float32), QUERY, np.array([more]))
                scored.append((-score, id))
        assert [(m.id, np.float32(m.score)) for m in matches] == [(id, -s) for s, id in sorted(scored)[:top_k]]
        for _ in range(2):  # from memory by now
            assert self.run(self.engine.query("docs", name, plan)).matches == matches

    @invariant()
    def everything_is_as_the_dict_says(self) -> None:
        assert {one.name: one.record_count for one in self.run(self.engine.every_namespace("docs"))} == {
            name: len(held) for name, held in sorted(self.there.items())
        }
        for name, wanted in self.there.items():
            page = self.run(self.engine.page("docs", name, PagePlan(100)))
            assert not page.more
            found = {}
            for record in page.records:
                sparse = record.sparse
                terms = (
                    None if sparse is None else dict(zip(sparse.indices.tolist(), sparse.values.tolist(), strict=True))
                )
                found[record.id] = tuple(record.vector.tolist()), terms, record.metadata
            assert list(found) == sorted(wanted)
            assert {id: (tuple(np.float32(v).tolist()), s, m) for id, (v, s, m) in wanted.items()} == found


class WithColumns(AgainstADict):
    """The SQLite engine with columns of every field that a filter asks for, which follow now and then."""

    options: ClassVar[dict[str, Any]] = {
        "approximate_from": 1, "column_bytes": 2**20, "tuning": Tuning(columns_from=1, quiet_s=0),
    }  # fmt: skip

    def open(self) -> Any:
        return SqliteEngine.open_folder(self.folder, 1, 0, **self.options)

    @rule()
    def settle(self) -> None:
        self.run(self.engine.upkeep_done())


class WithVectorsThatServeOn(WithColumns):
    """The same with vectors in memory that serve on after writes."""

    options: ClassVar[dict[str, Any]] = {
        "approximate_from": 1_000,
        "cache_bytes": 2**20,
        "tuning": Tuning(vectors_logged_from=1, log_spare_versions=3, quiet_s=0, coded_from=1, coded_dimension=1),
    }


class OnTwoEngines(AgainstADict):
    """Two PostgreSQL engines on one database. A call goes to the other engine than the call before, mostly."""

    kind = ENGINES["postgres"]

    def __init__(self) -> None:
        self.engines: list[Engine] = []
        self.turn = 0
        super().__init__()

    @property
    def engine(self) -> Engine:
        self.turn += 1
        return self.engines[self.turn % 2]

    @engine.setter
    def engine(self, opened: Engine) -> None:
        if self.engines:
            self.engines[self.turn % 2] = opened
        else:
            self.engines = [opened, self.run(self.open())]

    @rule()
    def change_turns(self) -> None:
        self.turn += 1

    def teardown(self) -> None:
        self.run(self.engine.close())
        super().teardown()


MACHINES: dict[str, Any] = {
    "OnTwoEngines": OnTwoEngines,
    **{f"AgainstADict_{name}": type(name, (AgainstADict,), {"kind": kind}) for name, kind in ENGINES.items()},
    "AgainstADict_postgres_in_buckets": type("InBuckets", (AgainstADict,), {"kind": DIVIDED}),
    "WithColumns": WithColumns,
    "WithVectorsThatServeOn": WithVectorsThatServeOn,
}
for name, machine in MACHINES.items():
    machine.TestCase.settings = settings(
        max_examples=examples(25), stateful_step_count=25, suppress_health_check=list(HealthCheck)
    )
    globals()[f"Test{name}"] = pytest.mark.slow(machine.TestCase) if machine.kind is DIVIDED else machine.TestCase


@pytest.mark.anyio
@every_engine
async def test_what_must_hold_whatever_is_stored(kind: EngineKind, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        Record(f"r{n:03}", rng.standard_normal(8).astype(np.float32), {"g": int(rng.integers(5))}) for n in range(400)
    ]
    engine = await kind.open(tmp_path)
    await engine.create_index(IndexSpec("docs", 8, "cosine"))
    await engine.upsert("docs", "a", rows)
    await engine.upsert("docs", "b", rows[:10])
    query = rows[17].vector

    async def ranking(
        raw: dict[str, Any] | None = None, top_k: int = 10_000, name: str = "a"
    ) -> list[tuple[str, float]]:
        plan = QueryPlan(top_k, vector=query, filter=filters.parse(raw) if raw else None)
        return [(match.id, match.score) for match in (await engine.query("docs", name, plan)).matches]

    everything = await ranking()
    for top_k in (1, 7, 399):
        assert await ranking(top_k=top_k) == everything[:top_k]
    inside, outside = await ranking({"g": {"$in": [1, 3]}}), await ranking({"g": {"$nin": [1, 3]}})
    assert inside and outside
    assert sorted(inside + outside) == sorted(everything)
    await engine.upsert("docs", "a", rows[:50])  # again
    assert await ranking() == everything
    await engine.delete("docs", "a", Selection(ids=[row.id for row in rows[100:300]]))
    assert len(await ranking()) == 200
    await engine.upsert("docs", "a", list(reversed(rows[100:300])))
    assert await ranking() == everything
    await engine.delete("docs", "a", Selection())
    assert await ranking() == []
    assert len(await ranking(name="b")) == 10
    await engine.upsert("docs", "a", rows)
    assert await ranking() == everything
    await engine.close()
