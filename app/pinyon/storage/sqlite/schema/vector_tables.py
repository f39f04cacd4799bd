"""The tables of vectors: the virtual table of sqlite-vec, and the tables in which sqlite-vec stores its rows.

Only this module spells the names of the storing tables. vector_rows.py and vector_sums.py read them directly and
vector_chunks.py writes them directly. That is safe only with the layout below, so every file is compared with it when
it is opened or made.
"""

from typing import Any

import apsw

from pinyon.domain import IndexSpec, Metric
from pinyon.errors import FailedPrecondition

CHUNK_ROWS = 64
"""Vectors per chunk of the vec0 table. Its default, 1024, would reserve 1.5 MB for a namespace with one record."""
KNOWN_VERSIONS = {"v0.1.9"}
"""Versions of sqlite-vec with the layout below. Add one only after test_vector_chunks.py has passed with it."""
CHUNKS = "vectors_chunks"
"""One row for each chunk: the namespace (partition00), a bit (validity) and an int64 row number (rowids) per slot."""
CHUNK_VECTORS = "vectors_vector_chunks00"
"""The vectors of each chunk, at row id chunk_id: a float32 [dimension] per slot."""
PLACES = "vectors_rowids"
"""Where each row is: chunk_id, and the slot in it (chunk_offset)."""
INFO = "vectors_info"
"""The version of sqlite-vec that made the tables."""
LAYOUT = {
    CHUNKS: (
        f'CREATE TABLE "{CHUNKS}"(chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,size INTEGER NOT NULL,'
        "sequence_id integer,partition00,validity BLOB NOT NULL, rowids BLOB NOT NULL)"
    ),
    INFO: f'CREATE TABLE "{INFO}" (key text primary key, value any)',
    PLACES: (
        f'CREATE TABLE "{PLACES}"(rowid INTEGER PRIMARY KEY AUTOINCREMENT,id,chunk_id INTEGER,chunk_offset INTEGER)'
    ),
    CHUNK_VECTORS: f'CREATE TABLE "{CHUNK_VECTORS}"(rowid PRIMARY KEY,vectors BLOB NOT NULL)',
}


def _sql(dimension: int, metric: Metric) -> str:
    distance = "cosine" if metric == "cosine" else "l2"  # vec0 has no dot product; vector_scan.py does the ranking
    return (
        f"CREATE VIRTUAL TABLE vectors USING vec0("
        f"ns INTEGER PARTITION KEY, embedding float[{dimension}] distance_metric={distance}, chunk_size={CHUNK_ROWS})"
    )


def create_vectors(connection: apsw.Connection, dimension: int, metric: Metric) -> None:
    """Make the vec0 table, whose columns depend on the index. It is the only place where vectors are stored."""
    connection.execute(_sql(dimension, metric))
    # vec0 looks chunks up by namespace for every insert and every query, but makes no index for that.
    connection.execute(f"CREATE INDEX {CHUNKS}_by_ns ON {CHUNKS} (partition00)")


def check_layout(connection: apsw.Connection, spec: IndexSpec) -> None:
    """Raises FailedPrecondition if the file stores its vectors in another layout than LAYOUT, or sqlite-vec would."""
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
    made_by = connection.execute(f"SELECT value FROM {INFO} WHERE key = 'CREATE_VERSION'").get
    installed = connection.execute("SELECT vec_version()").get
    for version, whose in ((made_by, "the file was made with"), (installed, "this installation has")):
        if version not in KNOWN_VERSIONS:
            raise FailedPrecondition(
                f"The vectors of index {spec.name} cannot be used safely: {whose} sqlite-vec {version}, and this "
                f"Pinyon knows {', '.join(sorted(KNOWN_VERSIONS))}; use one of those"
            )
