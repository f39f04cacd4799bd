"""Namespaces that are divided into buckets, as Citus needs them if they are very large. Here on PostgreSQL alone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from pinyon import filters
from pinyon.domain import EmbedSpec, FacetPlan, IndexSpec, PagePlan, QueryPlan, Record, Selection, SparseVector
from pinyon.storage.postgres import upkeep
from pinyon.storage.postgres.engine import PostgresEngine
from pinyon.storage.postgres.schema.buckets import MOST, Namespace, owner
from pinyon.storage.postgres.schema.citus import division
from pinyon.storage.postgres.schema.migrations import index_schema

from tests.postgres import consistency
from tests.postgres.shared_server import BUCKETS, open_divided, open_postgres, schema_of, shared
from tests.storage.test_identical_answers import exactly

pytestmark = pytest.mark.anyio
DOCS = IndexSpec("docs", 4, "dotproduct", EmbedSpec("any", "text", language="auto"))
COUNT = 60
WORDS = ("river", "bank", "money", "boats", "running", "the")


def records() -> list[Record]:
    random = np.random.default_rng(0)
    return [
        Record(
            f"r{place}ü",
            random.standard_normal(4).astype(np.float32),
            {"n": place, "odd": place % 2 == 1, "text": " ".join(random.choice(WORDS, 5))},
            SparseVector(np.array([place % 5, 9], np.uint32), np.array([0.5, 1.5], np.float32)),
        )
        for place in range(COUNT)
    ]


async def answers(engine: PostgresEngine) -> list[Any]:
    """What the namespace "a" answers to calls of every kind."""
    rows = records()
    few = filters.parse({"$and": [{"n": {"$gte": 10}}, {"odd": True}]})
    vector, sparse = rows[0].vector, rows[0].sparse
    plans = [
        QueryPlan(10, vector=vector, filter=few),
        QueryPlan(COUNT, vector=vector, sparse=sparse, include_values=True),
        QueryPlan(5, id=rows[7].id),
        QueryPlan(20, text="the running river"),
        QueryPlan(20, vector=vector, text="the running river", filter=few, statistics_text="river bank"),
    ]
    found: list[Any] = [await engine.query("docs", "a", plan) for plan in plans]
    for selection in (Selection(), Selection(filter=few), Selection(ids=[rows[3].id, rows[4].id, "nobody"])):
        found.append(await engine.count("docs", "a", selection))
        found.append(await engine.page("docs", "a", PagePlan(25, selection, prefix="r", after="r2")))
        found.append(await engine.facets("docs", "a", FacetPlan("n", 100, selection.filter)))
    found.append(await engine.every_namespace("docs"))
    return exactly(found)  # type: ignore[no-any-return]


async def test_a_namespace_that_is_divided_answers_as_before_and_takes_writes(tmp_path: Path) -> None:
    engine = await open_postgres(tmp_path)
    await engine.create_index(DOCS)
    for namespace in ("a", "b"):
        await engine.upsert("docs", namespace, records())
    before = await answers(engine)
    schema = index_schema(schema_of(tmp_path), 1)
    for _ in range(2):  # the second time changes nothing
        shared().execute(division(schema, "a", BUCKETS))
    assert await answers(engine) == before
    assert len(shared().execute(f"SELECT DISTINCT ns FROM {schema}.vectors WHERE ns <> 2")) == BUCKETS
    assert shared().execute(f"SELECT buckets FROM {schema}.namespaces ORDER BY ns") == [(BUCKETS,), (1,)]
    await engine.delete("docs", "a", Selection(filter=filters.parse({"n": {"$lt": 20}})))
    await engine.upsert("docs", "a", records()[10:30])
    assert await engine.count("docs", "a", Selection()) == COUNT - 10
    assert consistency.problems(tmp_path, "docs") == []
    await engine.delete_namespace("docs", "a")
    tables = ("records", "vectors", "numbers", "postings", "sparse_postings", "vector_sums", "text_languages")
    left = " UNION ".join(f"SELECT ns FROM {schema}.{table}" for table in tables)
    assert shared().execute(left) == [(2,)]
    await engine.close()


@pytest.fixture
async def divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresEngine]:
    for name in ("QUIET_S", "GROWTH_S"):
        monkeypatch.setattr(upkeep, name, 0)
    engine = await open_divided(tmp_path, approximate_from=500)
    yield engine
    await engine.close()


async def test_the_buckets_of_a_namespace_have_one_hnsw_index(divided: PostgresEngine, tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).standard_normal((600, 16)).astype(np.float32)
    await divided.create_index(IndexSpec("docs", 16, "cosine"))
    await divided.upsert("docs", "a", [Record(f"r{n}", each, {"odd": n % 2 == 1}) for n, each in enumerate(vectors)])
    await divided.upkeep_done()
    schema = index_schema(schema_of(tmp_path), 1)
    nearest = f"SELECT record FROM {schema}.vectors WHERE {Namespace(1, BUCKETS).rows} ORDER BY embedding <=> '{vectors[0].tolist()}' LIMIT 10"
    with psycopg.connect(shared().dsn) as connection:
        connection.execute("SET enable_seqscan = off; SET enable_sort = off")
        plan = connection.execute("EXPLAIN " + nearest).fetchall()
    assert "vectors_hnsw_1" in str(plan)
    for condition in (None, filters.parse({"odd": True})):
        found, exact = [
            await divided.query("docs", "a", QueryPlan(10, vectors[0], filter=condition, exact=is_exact))
            for is_exact in (False, True)
        ]
        assert (found.approximate, exact.approximate) == (True, False)
        assert found.matches == exact.matches


def test_a_namespace_with_one_bucket_is_asked_for_by_its_number_alone() -> None:
    ns = Namespace(7)
    assert (ns.rows, ns.rows_of(["a", "b"]), ns.bucket("a"), ns.key("records")) == (
        "ns = 7",
        "ns = 7",
        7,
        "records.record",
    )


def test_every_bucket_belongs_to_one_namespace() -> None:
    ids = [f"r{place}" for place in range(20_000)]
    spaces = [Namespace(number, MOST) for number in (1, 2, 3, 2**40)]
    numbers = {space.number: {space.bucket(id) for id in ids} for space in spaces}
    assert all(len(own) == MOST for own in numbers.values())
    assert len(set().union(*numbers.values())) == MOST * len(spaces)
    assert all(owner(number) == space for space, own in numbers.items() for number in own)


def test_a_record_is_looked_for_in_its_own_bucket() -> None:
    ns = Namespace(7, 64)
    assert ns.rows_of(["a"]) == f"ns = {ns.bucket('a')}"
    two = ns.rows_of(["a", "b", "a"]).removeprefix("ns IN (").removesuffix(")")
    assert {int(number) for number in two.split(", ")} == {ns.bucket("a"), ns.bucket("b")}
    assert ns.rows.count(",") == 63


@pytest.mark.parametrize("buckets", [0, 1, MOST + 1])
def test_there_are_two_buckets_or_more(buckets: int) -> None:
    with pytest.raises(ValueError, match=f"2 to {MOST} buckets, got {buckets}"):
        division("pinyon_1", "a", buckets)
