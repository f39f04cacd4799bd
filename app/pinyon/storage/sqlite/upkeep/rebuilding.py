"""Makes a new file of an index from an old one. Copies stored values, and derives everything else from them."""

import contextlib
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np

from pinyon.errors import DataLoss
from pinyon.files import sync
from pinyon.storage.shared.sparse import from_blob
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.connection.file_errors import translated
from pinyon.storage.sqlite.records import writing
from pinyon.storage.sqlite.schema import migrations, notes, tables, token_vectors, vector_sums
from pinyon.storage.sqlite.text import learned_vectors
from pinyon.storage.sqlite.transaction import Transaction
from pinyon.storage.sqlite.vectors import vector_chunks, vector_rows

ROWS, CHUNKS = 1_000, 64
"""Records, and chunks of vectors, that are read at a time."""


def rebuild(source: Path, target: Path) -> int:
    """Make the target file from the source file. Returns the number of records.

    The target must not exist, and nobody may have the source open. Raises DataLoss if a stored value cannot be read;
    the target does not exist then.
    """
    try:
        with contextlib.closing(connect(source, 0, "read only")) as reader:
            migrations.check(reader, source.name)
            with contextlib.closing(connect(target, 0, "write")) as writer:
                writer.execute("PRAGMA synchronous = OFF")  # the whole file is synced at the end
                migrations.migrate(writer)
                with Transaction(writer, "IMMEDIATE"):
                    count = _copy(reader, writer)
        sync(target)
        return count
    except (apsw.Error, msgspec.MsgspecError, ValueError) as error:
        for path in (target, target.with_name(target.name + "-journal")):
            path.unlink(missing_ok=True)
        if isinstance(error, apsw.Error):
            raise translated(error, source) from error
        raise DataLoss(f"The file {source.name} has a stored value that cannot be read: {error}") from error


def _copy(source: apsw.Connection, target: apsw.Connection) -> int:
    spec = tables.index_spec(source)
    if spec is None:
        raise ValueError("the file does not say what index it is")
    tables.create_index(target, spec, tables.index_details(source))
    state: Any = source.execute("SELECT fingerprint, lsn FROM state").get
    target.execute("UPDATE state SET fingerprint = ?, lsn = ?", state)
    if source.pragma("user_version") >= migrations.STEP_OF_INDEX_ID:  # an older file gets an id and a version here
        identity: Any = source.execute("SELECT id, version FROM state").get
        target.execute("UPDATE state SET id = ?, version = ?", identity)
    namespaces: list[Any] = source.execute("SELECT ns, name, schema, version FROM namespaces").fetchall()
    target.executemany("INSERT INTO namespaces (ns, name, schema, version) VALUES (?, ?, ?, ?)", namespaces)
    for ns, *_ in namespaces:
        _copy_records(source, target, ns)
        if not spec.sparse:
            _copy_vectors(source, target, ns, spec.dimension)
            if source.pragma("user_version") >= migrations.STEP_OF_LEARNED_VECTORS:
                _copy_learned_vectors(source, target, ns)
    for table in ("reembedding", "reembedded"):
        columns = [str(name) for _, name, *_ in source.execute(f"PRAGMA table_info({table})")]  # as old as the file
        rows = source.execute(f"SELECT * FROM {table}").fetchall()
        target.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", rows)
    if source.pragma("user_version") >= migrations.STEP_OF_NOTES:
        for note in notes.every(source):
            notes.put(target, note)
    token_vectors.copy(source, target, spec)
    return int(target.execute("SELECT count(*) FROM records").get)


def _copy_records(source: apsw.Connection, target: apsw.Connection, ns: int) -> None:
    spec, last = tables.known_spec(target), 0
    while rows := source.execute(
        f"SELECT {writing.COLUMNS} FROM records WHERE ns = ? AND record > ? ORDER BY record LIMIT ?", (ns, last, ROWS)
    ).fetchall():
        records: list[Any] = rows
        target.executemany(
            "INSERT INTO records (record, ns, id, metadata, sparse, truncated) VALUES (?, ?, ?, ?, ?, ?)",
            [(row, ns, id, text, sparse, cut) for row, id, text, sparse, cut in records],
        )
        writing.add_derived(target, spec, ns, writing.decoded(records))
        foreign = source.execute(
            "SELECT record FROM records WHERE ns = ? AND record > ? AND record <= ? AND foreign_vector",
            (ns, last, records[-1][0]),
        ).fetchall()
        target.executemany("UPDATE records SET foreign_vector = 1 WHERE record = ?", foreign)
        last = records[-1][0]


def _copy_vectors(source: apsw.Connection, target: apsw.Connection, ns: int, dimension: int) -> None:
    missing = {row for (row,) in target.execute("SELECT record FROM records WHERE ns = ?", (ns,))}
    chunks = vector_rows.chunk_ids(source, ns)
    for start in range(0, len(chunks), CHUNKS):
        rows, vectors = vector_rows.read_chunks(source, ns, dimension, chunks[start : start + CHUNKS])
        if not np.isfinite(vectors).all():
            raise ValueError("a vector has a number that is not finite")
        of_records = [(row, vector) for row, vector in zip(rows.tolist(), vectors, strict=True) if row in missing]
        vector_chunks.insert(target, ns, of_records)
        vector_sums.add(target, tables.known_spec(target), ns, [vector for _, vector in of_records])
        missing -= {row for row, _ in of_records}
    if missing:
        raise ValueError(f"{len(missing)} records have no vector")


def _copy_learned_vectors(source: apsw.Connection, target: apsw.Connection, ns: int) -> None:
    last = 0
    while found := source.execute(
        "SELECT record, vector FROM learned_vectors JOIN records USING (record) WHERE ns = ? AND record > ?"
        " ORDER BY record LIMIT ?",
        (ns, last, ROWS),
    ).fetchall():
        rows: list[Any] = found
        vectors = [(row, vector) for row, blob in rows if (vector := from_blob(blob)) is not None]
        learned_vectors.store(target, ns, vectors)
        last = rows[-1][0]
