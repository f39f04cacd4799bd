"""The tables that vectors are kept in: sqlite-vec's virtual table, and the tables behind it.

vector_rows.py reads the tables behind it, vector_chunks.py writes them. That is right only while sqlite-vec
has the layout that they know, so every file is compared with that layout when it is opened or made.
"""

from typing import Any

import apsw

from pinyon.domain import IndexSpec, Metric
from pinyon.errors import FailedPrecondition

CHUNK_ROWS = 64
"""Vectors per chunk of the vec0 table. Its default of 1024 reserves 1.5 MB for a namespace with one record."""
KNOWN_VERSIONS = {"v0.1.9"}
"""Versions of sqlite-vec with the layout below. Add one only after test_vector_chunks.py has passed with it."""
LAYOUT = {
    "vectors_chunks": (
        'CREATE TABLE "vectors_chunks"(chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,size INTEGER NOT NULL,'
        "sequence_id integer,partition00,validity BLOB NOT NULL, rowids BLOB NOT NULL)"
    ),
    "vectors_info": 'CREATE TABLE "vectors_info" (key text primary key, value any)',
    "vectors_rowids": (
        'CREATE TABLE "vectors_rowids"'
        "(rowid INTEGER PRIMARY KEY AUTOINCREMENT,id,chunk_id INTEGER,chunk_offset INTEGER)"
    ),
    "vectors_vector_chunks00": 'CREATE TABLE "vectors_vector_chunks00"(rowid PRIMARY KEY,vectors BLOB NOT NULL)',
}


def _sql(dimension: int, metric: Metric) -> str:
    distance = "cosine" if metric == "cosine" else "l2"  # vec0 has no dot product; vector_scan.py does the ranking
    return (
        f"CREATE VIRTUAL TABLE vectors USING vec0("
        f"ns INTEGER PARTITION KEY, embedding float[{dimension}] distance_metric={distance}, chunk_size={CHUNK_ROWS})"
    )


def create_vectors(connection: apsw.Connection, dimension: int, metric: Metric) -> None:
    """Make the vec0 table, whose shape depends on the index. Vectors are kept here and nowhere else."""
    connection.execute(_sql(dimension, metric))
    # vec0 looks chunks up by namespace, on every insert and every query, and has no index for it.
    connection.execute("CREATE INDEX vectors_chunks_by_ns ON vectors_chunks (partition00)")


def check_layout(connection: apsw.Connection, spec: IndexSpec) -> None:
    """Raises FailedPrecondition if sqlite-vec lays out the vectors of the index in another way than is known here."""
    if spec.sparse:
        return
    rows: Any = connection.execute("SELECT name, sql FROM sqlite_schema WHERE name GLOB 'vectors*' AND type = 'table'")
    tables: dict[str, str] = dict(rows)
    expected = LAYOUT | {"vectors": _sql(spec.dimension, spec.metric)}
    different = sorted(name for name in expected.keys() | tables.keys() if expected.get(name) != tables.get(name))
    if different:
        raise FailedPrecondition(
            f"The vectors of index {spec.name} are in tables of another layout ({', '.join(different)}) than this "
            f"Pinyon knows; use the Pinyon that made the file, or sqlite-vec {', '.join(sorted(KNOWN_VERSIONS))}"
        )
    made_by = connection.execute("SELECT value FROM vectors_info WHERE key = 'CREATE_VERSION'").get
    installed = connection.execute("SELECT vec_version()").get
    for version, whose in ((made_by, "the file was made with"), (installed, "this installation has")):
        if version not in KNOWN_VERSIONS:
            raise FailedPrecondition(
                f"The vectors of index {spec.name} cannot be used safely: {whose} sqlite-vec {version}, and this "
                f"Pinyon knows {', '.join(sorted(KNOWN_VERSIONS))}; use one of those"
            )
