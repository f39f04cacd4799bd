"""Writing records: plain functions on a connection, inside the caller's transaction.

Whatever changes a record changes its vector, its postings and its namespace's counts with it.
"""

from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec, Metadata, Record, Selection, SparseVector, UpdatePlan
from pinyon.errors import InvalidArgument, NotFound
from pinyon.storage.sqlite.records import reembedding
from pinyon.storage.sqlite.records.selection import namespace as namespace_number
from pinyon.storage.sqlite.records.selection import where
from pinyon.storage.sqlite.schema import changes, tables
from pinyon.storage.sqlite.text import lexical, sparse_index
from pinyon.storage.sqlite.text.postings import Kind, Posted, postings
from pinyon.storage.sqlite.vectors import vector_chunks

AT_ONCE = 1_000
"""Records an update or a delete holds in memory at a time."""
FLOAT_BYTES = 4
FIELD = itemgetter(0)
"""Of a posting."""


class StoredRecord(msgspec.Struct, frozen=True, gc=False):
    """A row of the table of records.

    json: the metadata as it is stored. sparse: the sparse vector as it is stored. truncated: whether its text was cut.
    """

    row: int
    id: str
    metadata: Metadata
    sparse: bytes | None
    json: str
    truncated: bool


COLUMNS = "record, id, metadata, sparse, truncated"
"""The columns that a StoredRecord is made from, by decoded()."""


def upsert(
    connection: apsw.Connection, spec: IndexSpec, namespace: str, records: Sequence[Record], foreign: bool = False
) -> int:
    """Store the records, replacing those with the same id; the last of equal ids wins. Returns the LSN.

    foreign: the index embeds text, and these vectors come from elsewhere.
    """
    _check_dimension(spec, (record.vector for record in records))
    connection.execute("INSERT INTO namespaces (name) VALUES (?) ON CONFLICT DO NOTHING", (namespace,))
    ns = namespace_number(connection, namespace)
    assert ns is not None
    wanted = {record.id: record for record in records}
    old = {record.id: record for record in _stored(connection, ns, Selection(ids=list(wanted)))}
    following = connection.execute("SELECT coalesce(max(record), 0) + 1 FROM records").get
    rows = {id: old[id].row if id in old else following + place for place, id in enumerate(wanted)}
    _forget(connection, spec, ns, old.values())
    stored = [
        StoredRecord(rows[r.id], r.id, r.metadata, sparse_index.to_blob(r.sparse), _metadata_text(r), r.truncated)
        for r in wanted.values()
    ]
    _replace(connection, [record for record in stored if record.id in old])
    connection.executemany(  # its text is short, as apsw reads it again for each row
        "INSERT INTO records (record, ns, id, metadata, sparse, truncated) VALUES (?, ?, ?, ?, ?, ?)",
        [(r.row, ns, r.id, r.json, r.sparse, r.truncated) for r in stored if r.id not in old],
    )
    if not spec.sparse:
        vectors = [(rows[id], r.vector, id in old) for id, r in wanted.items() if r.vector is not None]
        vector_chunks.update(connection, [(row, vector) for row, vector, there in vectors if there])
        vector_chunks.insert(connection, ns, [(row, vector) for row, vector, there in vectors if not there])
    remember(connection, spec, ns, stored)
    _mark_foreign(connection, ns, list(rows.values()), foreign)
    return _written(connection, ns, [] if spec.sparse else rows.values())


def update(connection: apsw.Connection, spec: IndexSpec, namespace: str, plan: UpdatePlan) -> tuple[int, int]:
    """Change the selected records. Returns how many there were, and the LSN.

    Raises InvalidArgument if the selection, or the metadata of a record, is larger than the plan allows.
    """
    _check_dimension(spec, [plan.vector])
    ns = namespace_number(connection, namespace)
    if ns is None:
        return 0, tables.next_lsn(connection)
    text, parameters = where(plan.selection, ns)
    selected = [row for (row,) in connection.execute(f"SELECT record FROM records WHERE {text}", parameters)]
    if plan.max_records is not None and len(selected) > plan.max_records:
        raise InvalidArgument(
            f"The filter selects {len(selected)} records; at most {plan.max_records} can be updated at once"
        )
    if not selected:  # a write all the same: its number does not tell whether there was something
        return 0, tables.next_lsn(connection)
    for start in range(0, len(selected), AT_ONCE):
        old = _rows(connection, selected[start : start + AT_ONCE])
        new = [_changed(record, plan) for record in old]
        _forget(connection, spec, ns, old)
        _replace(connection, new)
        if plan.vector is not None:
            vector_chunks.update(connection, [(record.row, plan.vector) for record in new])
        remember(connection, spec, ns, new)
    if plan.vector is not None:
        _mark_foreign(connection, ns, selected, spec.embed is not None)
    return len(selected), _written(connection, ns, [] if spec.sparse else selected, plan.vector is not None)


def count(connection: apsw.Connection, namespace: str, selection: Selection) -> int:
    """How many records are selected."""
    ns = namespace_number(connection, namespace)
    if ns is None:
        return 0
    text, parameters = where(selection, ns)
    return int(connection.execute(f"SELECT count(*) FROM records WHERE {text}", parameters).get)


def delete(connection: apsw.Connection, spec: IndexSpec, namespace: str, selection: Selection) -> int:
    """Delete the selected records; the namespace stays. Returns the LSN. Raises NotFound without the namespace."""
    ns = namespace_number(connection, namespace)
    if ns is None:
        raise NotFound("Namespace not found")
    if selection.ids is None and selection.filter is None:
        _delete_all(connection, spec, ns)
        connection.execute("UPDATE namespaces SET record_count = 0, bytes = 0, truncated = 0 WHERE ns = ?", (ns,))
        return _written(connection, ns)
    text, parameters = where(selection, ns)
    selected = [row for (row,) in connection.execute(f"SELECT record FROM records WHERE {text}", parameters)]
    for start in range(0, len(selected), AT_ONCE):
        part = selected[start : start + AT_ONCE]
        _forget(connection, spec, ns, _rows(connection, part))
        connection.executemany("DELETE FROM records WHERE record = ?", [(row,) for row in part])
        if not spec.sparse:
            vector_chunks.remove(connection, part)
    return _written(connection, ns, [] if spec.sparse else selected)


def delete_namespace(connection: apsw.Connection, spec: IndexSpec, namespace: str) -> int:
    """Delete a namespace with its records. Returns the LSN. Raises NotFound."""
    ns = namespace_number(connection, namespace)
    if ns is None:
        raise NotFound("Namespace not found")
    _delete_all(connection, spec, ns)
    connection.execute("DELETE FROM namespaces WHERE ns = ?", (ns,))
    return tables.next_lsn(connection)


def _mark_foreign(connection: apsw.Connection, ns: int, rows: list[int], foreign: bool) -> None:
    """Note whether the vectors of rows come from elsewhere; their count follows by triggers."""
    count = connection.execute("SELECT foreign_vectors FROM namespaces WHERE ns = ?", (ns,)).get
    if foreign or count:
        connection.execute(
            "UPDATE records SET foreign_vector = ? WHERE record IN (SELECT value FROM carray(?))",
            (foreign, apsw.carray(np.array(rows, np.int64))),
        )


def _check_dimension(spec: IndexSpec, vectors: Iterable[NDArray[np.float32] | None]) -> None:
    """Raises InvalidArgument: the index may have got another dimension since the caller looked."""
    for vector in vectors:
        if vector is not None and len(vector) != spec.dimension:
            raise InvalidArgument(
                f"Vector dimension {len(vector)} does not match the dimension of the index {spec.dimension}"
            )


def _written(connection: apsw.Connection, ns: int, rows: Iterable[int] = (), of_vectors: bool = True) -> int:
    """Number the write, and mark the namespace and these rows, or their fields, as changed by it. Returns the LSN."""
    lsn = tables.next_lsn(connection)
    connection.execute("UPDATE namespaces SET version = ? WHERE ns = ?", (lsn, ns))
    changes.note(connection, ns, lsn, np.fromiter(rows, np.int64), of_vectors)
    return lsn


def _delete_all(connection: apsw.Connection, spec: IndexSpec, ns: int) -> None:
    """Everything of a namespace."""
    if not spec.sparse:
        vector_chunks.remove_all(connection, ns)
    changes.stop(connection, ns)
    lexical.remove_all(connection, ns)
    reembedding.forget_all(connection, ns)
    for table in ("postings", "sparse_postings", "records"):
        connection.execute(f"DELETE FROM {table} WHERE ns = ?", (ns,))


def _stored(connection: apsw.Connection, ns: int, selection: Selection) -> list[StoredRecord]:
    text, parameters = where(selection, ns)
    return _read(connection, f"SELECT {COLUMNS} FROM records WHERE {text}", parameters)


def _rows(connection: apsw.Connection, rows: list[int]) -> list[StoredRecord]:
    numbers = (tables.to_json(rows),)
    return _read(connection, f"SELECT {COLUMNS} FROM records WHERE record IN (SELECT value FROM json_each(?))", numbers)


def _read(connection: apsw.Connection, sql: str, parameters: Sequence[Any]) -> list[StoredRecord]:
    return decoded(connection.execute(sql, parameters))


def decoded(rows: Iterable[Any]) -> list[StoredRecord]:
    """Records from rows of COLUMNS."""
    return [
        StoredRecord(row, id, msgspec.json.decode(text), sparse, text, bool(truncated))
        for row, id, text, sparse, truncated in rows
    ]


def _replace(connection: apsw.Connection, records: Iterable[StoredRecord]) -> None:
    connection.executemany(
        "UPDATE records SET metadata = ?, sparse = ?, truncated = ? WHERE record = ?",
        [(record.json, record.sparse, record.truncated, record.row) for record in records],
    )


def _metadata_text(record: Record) -> str:
    encoded = record.metadata_json
    return tables.to_json(record.metadata) if encoded is None else encoded.decode()


def _changed(record: StoredRecord, plan: UpdatePlan) -> StoredRecord:
    metadata, json = record.metadata, record.json
    if plan.metadata is not None:
        metadata = {**metadata, **plan.metadata}
        json = tables.to_json(metadata)
        _check_metadata(record.id, json, plan.max_metadata_bytes)
    sparse = record.sparse if plan.sparse is None else sparse_index.to_blob(plan.sparse)
    return StoredRecord(record.row, record.id, metadata, sparse, json, record.truncated and plan.vector is None)


def _check_metadata(id: str, text: str, max_bytes: int | None) -> None:
    """Raises InvalidArgument if the metadata of a record, in JSON, is longer than the caller allows."""
    size = len(text.encode())
    if max_bytes is not None and size > max_bytes:
        raise InvalidArgument(
            f"Vector '{id}': Metadata size is {size} bytes, which exceeds the limit of {max_bytes} bytes per vector"
        )


def remember(connection: apsw.Connection, spec: IndexSpec, ns: int, records: Collection[StoredRecord]) -> None:
    """Add records to the postings, the words and the counts. They are in the table of records already."""
    posted = _postings(records)
    names = set(map(FIELD, posted))
    connection.executemany("INSERT INTO fields (name) VALUES (?) ON CONFLICT DO NOTHING", [(n,) for n in names])
    number = _field_numbers(connection, names)
    connection.executemany(
        "INSERT INTO postings (ns, field, kind, value, record) VALUES (?, ?, ?, ?, ?)",
        sorted([(ns, number[field], kind, value, row) for field, kind, value, row in posted]),
    )
    sparse_index.add(connection, ns, _sparse(records))
    lexical.add(connection, spec, ns, [(record.row, record.metadata) for record in records])
    _count(connection, spec, ns, records, 1)


def _forget(connection: apsw.Connection, spec: IndexSpec, ns: int, records: Collection[StoredRecord]) -> None:
    """Undo remember()."""
    posted = _postings(records)
    number = _field_numbers(connection, set(map(FIELD, posted)))
    connection.executemany(
        "DELETE FROM postings WHERE ns = ? AND field = ? AND kind = ? AND value = ? AND record = ?",
        [(ns, number[field], kind, value, row) for field, kind, value, row in posted],
    )
    sparse_index.remove(connection, ns, _sparse(records))
    lexical.remove(connection, spec, ns, [(record.row, record.metadata) for record in records])
    reembedding.forget(connection, [record.row for record in records])
    _count(connection, spec, ns, records, -1)


def _postings(records: Iterable[StoredRecord]) -> list[tuple[str, Kind, Posted, int]]:
    return [(field, kind, value, record.row) for record in records for field, kind, value in postings(record.metadata)]


def _sparse(records: Iterable[StoredRecord]) -> list[tuple[int, SparseVector]]:
    vectors = ((record.row, sparse_index.from_blob(record.sparse)) for record in records)
    return [(row, vector) for row, vector in vectors if vector is not None]


def _count(connection: apsw.Connection, spec: IndexSpec, ns: int, records: Collection[StoredRecord], sign: int) -> None:
    """Add records to the counts of their namespace. sign: 1, or -1 to subtract them."""
    size = sum(size_of(spec, record.id, record.json, record.sparse) for record in records)
    truncated = sum(record.truncated for record in records)
    connection.execute(
        "UPDATE namespaces SET record_count = record_count + ?, bytes = bytes + ?, truncated = truncated + ?"
        " WHERE ns = ?",
        (sign * len(records), sign * size, sign * truncated, ns),
    )


def size_of(spec: IndexSpec, id: str, text: str, sparse: bytes | None) -> int:
    """Bytes that a record counts for. text: its metadata in JSON."""
    return FLOAT_BYTES * spec.dimension + len(id) + len(text.encode()) + len(sparse or b"")


def _field_numbers(connection: apsw.Connection, names: Iterable[str]) -> dict[str, int]:
    return {name: connection.execute("SELECT field FROM fields WHERE name = ?", (name,)).get for name in names}
