"""Makes a new file of an index from what can be read of an old one: copies stored values, derives everything else."""

import contextlib
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np

from pinyon.errors import DataLoss
from pinyon.files import sync
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.connection.file_errors import translated
from pinyon.storage.sqlite.records import writing
from pinyon.storage.sqlite.schema import migrations, tables
from pinyon.storage.sqlite.transaction import Transaction
from pinyon.storage.sqlite.vectors import vector_chunks, vector_rows

ROWS, CHUNKS = 1_000, 64
"""Records, and chunks of vectors, per step."""


def rebuild(source: Path, target: Path) -> int:
    """Make the target file from the source file. Returns the number of records.

    The target must not exist, and nobody may have the source open. Raises DataLoss if a stored value cannot be read.
    Then there is no target.
    """
    try:
        with contextlib.closing(connect(source, 0, "read only")) as reading:
            migrations.check(reading, source.name)
            with contextlib.closing(connect(target, 0, "write")) as writing:
                writing.execute("PRAGMA synchronous = OFF")  # the whole file is synced at the end
                migrations.migrate(writing)
                with Transaction(writing, "IMMEDIATE"):
                    count = _copy(reading, writing)
        sync(target)
        return count
    except (apsw.Error, msgspec.MsgspecError, ValueError) as error:
        for path in (target, target.with_name(target.name + "-journal")):
            path.unlink(missing_ok=True)
        if isinstance(error, apsw.Error):
            raise translated(error, source) from error
        raise DataLoss(f"The file {source.name} has a stored value that cannot be read: {error}") from error


def _copy(reading: apsw.Connection, to: apsw.Connection) -> int:
    spec = tables.index_spec(reading)
    if spec is None:
        raise ValueError("the file does not say what index it is")
    tables.create_index(to, spec, tables.index_details(reading))
    state: Any = reading.execute("SELECT fingerprint, lsn, id, version FROM state").get
    to.execute("UPDATE state SET fingerprint = ?, lsn = ?, id = ?, version = ?", state)
    namespaces: list[Any] = reading.execute("SELECT ns, name, schema, version FROM namespaces").fetchall()
    to.executemany("INSERT INTO namespaces (ns, name, schema, version) VALUES (?, ?, ?, ?)", namespaces)
    for ns, *_ in namespaces:
        _copy_records(reading, to, ns)
        if not spec.sparse:
            _copy_vectors(reading, to, ns, spec.dimension)
    for table in ("reembedding", "reembedded"):
        rows = reading.execute(f"SELECT * FROM {table}").fetchall()
        to.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})" if rows else "", rows)
    return int(to.execute("SELECT count(*) FROM records").get)


def _copy_records(reading: apsw.Connection, to: apsw.Connection, ns: int) -> None:
    spec, last = tables.known_spec(to), 0
    while rows := reading.execute(
        f"SELECT {writing.COLUMNS} FROM records WHERE ns = ? AND record > ? ORDER BY record LIMIT ?", (ns, last, ROWS)
    ).fetchall():
        records: list[Any] = rows
        to.executemany(
            "INSERT INTO records (record, ns, id, metadata, sparse, truncated) VALUES (?, ?, ?, ?, ?, ?)",
            [(row, ns, id, text, sparse, cut) for row, id, text, sparse, cut in records],
        )
        writing.add_derived(to, spec, ns, writing.decoded(records))
        foreign = reading.execute(
            "SELECT record FROM records WHERE ns = ? AND record > ? AND record <= ? AND foreign_vector",
            (ns, last, records[-1][0]),
        ).fetchall()
        to.executemany("UPDATE records SET foreign_vector = 1 WHERE record = ?", foreign)
        last = records[-1][0]


def _copy_vectors(reading: apsw.Connection, to: apsw.Connection, ns: int, dimension: int) -> None:
    wanted = {row for (row,) in to.execute("SELECT record FROM records WHERE ns = ?", (ns,))}
    chunks = vector_rows.chunk_ids(reading, ns)
    for start in range(0, len(chunks), CHUNKS):
        rows, vectors = vector_rows.read_chunks(reading, ns, dimension, chunks[start : start + CHUNKS])
        if not np.isfinite(vectors).all():
            raise ValueError("a vector has a number that is not finite")
        present = [(row, vector) for row, vector in zip(rows.tolist(), vectors, strict=True) if row in wanted]
        vector_chunks.insert(to, ns, present)
        wanted -= {row for row, _ in present}
    if wanted:
        raise ValueError(f"{len(wanted)} records have no vector")
