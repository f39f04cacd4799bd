"""pgvector's HNSW indexes: one for each large namespace. Plain functions on a connection.

An index of a namespace is partial (WHERE ns = ..., or IN the numbers of its buckets), so the records of others cost a
search nothing. Vectors of more than 2,000 numbers are indexed with half the precision, those of more than 4,000 not at
all.
"""

import math

import msgspec
from psycopg import sql

from pinyon.domain import IndexSpec, Metric
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.postgres.vectors.bounds import OPERATORS

WHOLE, HALF = 2_000, 4_000
"""The longest vectors that pgvector indexes as float32, and as float16."""
CLASSES: dict[Metric, str] = {"cosine": "cosine_ops", "dotproduct": "ip_ops", "euclidean": "l2_ops"}
NEIGHBOURS, BUILT_FROM = 16, 100
"""m and ef_construction: the links of a vector, and how many neighbours are compared to choose them. With pgvector's
own 64, recall@10 among a million vectors was 0.971; with 100 it is 0.988. The build takes a third longer."""
LEAST_SEARCHED, SEARCHED_PER_HIT, MOST_SEARCHED = 200, 2, 1_000
"""hnsw.ef_search: how many neighbours a search follows, for a recall of 0.98 (docs/notes/postgres.md). pgvector takes
at most 1,000."""
OTHER_WAYS = ("sort", "seqscan", "bitmapscan", "hashjoin", "mergejoin")
"""Ways to read a table that must not replace the index."""
MOST_SCANNED = 20_000
"""hnsw.max_scan_tuples: rows that a filtered search looks at before all that match are compared instead."""


class HnswIndex(msgspec.Struct, frozen=True):
    """A usable index of a namespace. kind: the type of what it stores."""

    metric: Metric
    kind: str
    dimension: int

    @property
    def distance(self) -> str:
        """What it orders by, as SQL with one parameter, the text of the query."""
        if self.kind == "vector":
            return f"embedding {OPERATORS[self.metric]} %s::vector"
        half = f"halfvec({self.dimension})"
        return f"(embedding::{half}) {OPERATORS[self.metric]} %s::{half}"

    def settings(self, searched: int) -> str:
        """SQL before a search in the same transaction. searched: as searched() returns it.

        PostgreSQL cannot know how many rows match a filter on JSON. If it expects few, it reads all of them, so every
        other way than by the index is switched off.
        """
        off = "".join(f"; SET LOCAL enable_{each} = off" for each in OTHER_WAYS)
        return (
            f"SET LOCAL hnsw.ef_search = {searched}; SET LOCAL hnsw.iterative_scan = strict_order;"
            f" SET LOCAL hnsw.max_scan_tuples = {MOST_SCANNED}{off}"
        )

    @staticmethod
    def undo() -> str:
        """SQL that lets PostgreSQL choose again how it reads, for what follows in the transaction."""
        return "; ".join(f"SET LOCAL enable_{each} = on" for each in OTHER_WAYS)


def searched(top_k: int, share: float) -> int | None:
    """How many neighbours a search must follow to miss few of the nearest that match a filter.

    share: of the records that match, 0..1. None: more than pgvector can follow, so all that match are to be compared.
    The search goes on by itself until enough match, so the number need not grow as fast as the share shrinks: measured,
    its root is enough.
    """
    needed = round((LEAST_SEARCHED + SEARCHED_PER_HIT * top_k) / math.sqrt(max(share, 1e-9)))
    return needed if needed <= MOST_SEARCHED else None


def kind_of(spec: IndexSpec) -> HnswIndex | None:
    """What an index of the spec's vectors is like; None if pgvector cannot index them."""
    if spec.sparse or spec.dimension > HALF:
        return None
    return HnswIndex(spec.metric, "vector" if spec.dimension <= WHOLE else "halfvec", spec.dimension)


def name_of(ns: int) -> str:
    """The name of the index of a namespace, in the schema of its Pinyon index."""
    return f"vectors_hnsw_{ns}"


async def usable(connection: Connection) -> set[int]:
    """The numbers of the namespaces that have a complete index. None if the tables were dropped meanwhile."""
    cursor = await connection.execute(
        "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE indrelid = to_regclass('vectors') AND relname LIKE 'vectors\\_hnsw\\_%%' AND indisvalid"
    )
    return {int(name.rpartition("_")[2]) for (name,) in await cursor.fetchall()}


async def create(connection: Connection, schema: str, spec: IndexSpec, ns: Namespace) -> None:
    """Build the index of a namespace, while reads and writes go on. Call outside any transaction."""
    kind = kind_of(spec)
    assert kind is not None
    column = sql.SQL("embedding" if kind.kind == "vector" else f"(embedding::halfvec({kind.dimension}))")
    await drop(connection, schema, ns.number)  # what an interrupted build left
    await connection.execute(
        sql.SQL(
            "CREATE INDEX CONCURRENTLY {} ON {} USING hnsw ({} {}) WITH (m = {}, ef_construction = {}) WHERE {}"
        ).format(
            sql.Identifier(name_of(ns.number)),
            sql.Identifier(schema, "vectors"),
            column,
            sql.SQL(f"{kind.kind}_{CLASSES[spec.metric]}"),
            sql.Literal(NEIGHBOURS),
            sql.Literal(BUILT_FROM),
            sql.SQL(ns.rows),
        )
    )


async def drop(connection: Connection, schema: str, ns: int) -> None:
    """Remove the index of a namespace, if there is one. Call outside any transaction."""
    await connection.execute(
        sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(schema, name_of(ns)))
    )
