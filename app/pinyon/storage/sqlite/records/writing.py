"""Writes records. Plain functions on a connection, inside the caller's transaction.

Every change of a record also changes its vector, its postings, its words and the counts of its namespace.
"""

from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any

import apsw
import msgspec
import numpy as np

from pinyon.domain import IndexSpec, Record, Selection, SparseVector, UpdatePlan
from pinyon.errors import NotFound
from pinyon.storage.shared.lexical import text_of
from pinyon.storage.shared.postings import Kind, Posted, postings
from pinyon.storage.shared.records import StoredRecord, check_dimension, check_number_selected, size_of, stored, updated
from pinyon.storage.shared.sparse import from_blob
from pinyon.storage.sqlite.records import reembedding
from pinyon.storage.sqlite.records.selection import namespace as namespace_number
from pinyon.storage.sqlite.records.selection import where
from pinyon.storage.sqlite.schema import changes, tables, token_vectors, vector_sums
from pinyon.storage.sqlite.text import learned_vectors, lexical, sparse_index
from pinyon.storage.sqlite.vectors import vector_chunks

BATCH = 1_000
"""Records that an update or a delete holds in memory at a time."""
FIELD = itemgetter(0)
"""Returns the field of a posting."""


COLUMNS = "record, id, metadata, sparse, truncated"
"""The columns that decoded() makes a StoredRecord from."""


def upsert(
    connection: apsw.Connection, spec: IndexSpec, namespace: str, records: Sequence[Record], foreign: bool = False
) -> int:
    """Store the records. Returns the LSN of the write.

    A record replaces the stored one with the same id. If several records have the same id, the last one counts.
    foreign: the index embeds text, and these vectors come from elsewhere. Raises InvalidArgument if a vector does not
    have the dimension of the index.
    """
    check_dimension(spec, (record.vector for record in records))
    connection.execute("INSERT INTO namespaces (name) VALUES (?) ON CONFLICT DO NOTHING", (namespace,))
    ns = namespace_number(connection, namespace)
    assert ns is not None
    by_id = {record.id: record for record in records}
    old = {record.id: record for record in _stored(connection, ns, Selection(ids=list(by_id)))}
    free = connection.execute("SELECT coalesce(max(record), 0) + 1 FROM records").get
    rows = {id: old[id].row if id in old else free + place for place, id in enumerate(by_id)}
    _remove_derived(connection, spec, ns, old.values())
    new = [stored(rows[record.id], record) for record in by_id.values()]
    _replace(connection, [record for record in new if record.id in old])
    connection.executemany(  # the SQL is short, because apsw reads it again for each row
        "INSERT INTO records (record, ns, id, metadata, sparse, truncated) VALUES (?, ?, ?, ?, ?, ?)",
        [(r.row, ns, r.id, r.json, r.sparse, r.truncated) for r in new if r.id not in old],
    )
    if not spec.sparse:
        vectors = [(id, r.vector) for id, r in by_id.items() if r.vector is not None]
        vector_sums.subtract(connection, spec, ns, [record.row for record in old.values()])
        vector_sums.add(connection, spec, ns, [vector for _, vector in vectors])
        vector_chunks.update(connection, [(rows[id], vector) for id, vector in vectors if id in old])
        vector_chunks.insert(connection, ns, [(rows[id], vector) for id, vector in vectors if id not in old])
        learned_vectors.remove(connection, ns, [record.row for record in old.values()])
        learned_vectors.store(connection, ns, [(rows[id], r.learned) for id, r in by_id.items() if r.learned])
    token_vectors.remove(connection, [record.row for record in old.values()])
    token_vectors.add(connection, spec, [(rows[id], r.token_codes) for id, r in by_id.items()])
    add_derived(connection, spec, ns, new)
    _mark_foreign(connection, ns, list(rows.values()), foreign)
    return _written(connection, ns, [] if spec.sparse else rows.values())


def update(connection: apsw.Connection, spec: IndexSpec, namespace: str, plan: UpdatePlan) -> tuple[int, int]:
    """Change the selected records. Returns how many there are, and the LSN of the write.

    Raises InvalidArgument if the plan's vector does not have the dimension of the index, if more records are selected
    than the plan allows, or if the metadata of a record would be larger than it allows.
    """
    check_dimension(spec, [plan.vector])
    ns = namespace_number(connection, namespace)
    if ns is None:
        return 0, tables.next_lsn(connection)
    text, parameters = where(plan.selection, ns)
    selected = [row for (row,) in connection.execute(f"SELECT record FROM records WHERE {text}", parameters)]
    check_number_selected(plan, len(selected))
    if not selected:  # It is a write all the same, so that the LSN does not tell whether any record was selected.
        return 0, tables.next_lsn(connection)
    for start in range(0, len(selected), BATCH):
        old = _rows(connection, selected[start : start + BATCH])
        new = [updated(record, plan) for record in old]
        token_vectors.remove(connection, _with_other_text(spec, old, new))
        _remove_derived(connection, spec, ns, old)
        _replace(connection, new)
        if plan.vector is not None:
            vector_sums.subtract(connection, spec, ns, [record.row for record in new])
            vector_sums.add(connection, spec, ns, [plan.vector] * len(new))
            vector_chunks.update(connection, [(record.row, plan.vector) for record in new])
        if spec.embed is not None and spec.embed.text_field in (plan.metadata or {}):
            learned_vectors.remove(connection, ns, [record.row for record in new])  # nobody has read the new text
        add_derived(connection, spec, ns, new)
    if plan.vector is not None:
        _mark_foreign(connection, ns, selected, spec.embed is not None)
    return len(selected), _written(connection, ns, [] if spec.sparse else selected, plan.vector is not None)


def count(connection: apsw.Connection, namespace: str, selection: Selection) -> int:
    """The number of selected records."""
    ns = namespace_number(connection, namespace)
    if ns is None:
        return 0
    text, parameters = where(selection, ns)
    return int(connection.execute(f"SELECT count(*) FROM records WHERE {text}", parameters).get)


def delete(connection: apsw.Connection, spec: IndexSpec, namespace: str, selection: Selection) -> int:
    """Delete the selected records. The namespace stays. Returns the LSN of the write.

    Raises NotFound if there is no such namespace.
    """
    ns = namespace_number(connection, namespace)
    if ns is None:
        raise NotFound("Namespace not found")
    if selection.ids is None and selection.filter is None:
        _delete_all(connection, spec, ns)
        connection.execute("UPDATE namespaces SET record_count = 0, bytes = 0, truncated = 0 WHERE ns = ?", (ns,))
        return _written(connection, ns)
    text, parameters = where(selection, ns)
    selected = [row for (row,) in connection.execute(f"SELECT record FROM records WHERE {text}", parameters)]
    for start in range(0, len(selected), BATCH):
        part = selected[start : start + BATCH]
        _remove_derived(connection, spec, ns, _rows(connection, part))
        token_vectors.remove(connection, part)
        connection.executemany("DELETE FROM records WHERE record = ?", [(row,) for row in part])
        if not spec.sparse:
            vector_sums.subtract(connection, spec, ns, part)
            vector_chunks.remove(connection, part)
            learned_vectors.remove(connection, ns, part)
    return _written(connection, ns, [] if spec.sparse else selected)


def delete_namespace(connection: apsw.Connection, spec: IndexSpec, namespace: str) -> int:
    """Delete a namespace with its records. Returns the LSN of the write. Raises NotFound."""
    ns = namespace_number(connection, namespace)
    if ns is None:
        raise NotFound("Namespace not found")
    _delete_all(connection, spec, ns)
    connection.execute("DELETE FROM namespaces WHERE ns = ?", (ns,))
    return tables.next_lsn(connection)


def _mark_foreign(connection: apsw.Connection, ns: int, rows: list[int], foreign: bool) -> None:
    """Note whether the vectors of these rows come from elsewhere. Triggers keep the count of such vectors right."""
    count = connection.execute("SELECT foreign_vectors FROM namespaces WHERE ns = ?", (ns,)).get
    if foreign or count:
        connection.execute(
            "UPDATE records SET foreign_vector = ? WHERE record IN (SELECT value FROM carray(?))",
            (foreign, apsw.carray(np.array(rows, np.int64))),
        )


def _written(connection: apsw.Connection, ns: int, rows: Iterable[int] = (), of_vectors: bool = True) -> int:
    """Give the write an LSN, and mark the namespace and these rows as changed by it. Returns the LSN.

    of_vectors: the vectors of the rows have changed, not only their fields.
    """
    lsn = tables.next_lsn(connection)
    connection.execute("UPDATE namespaces SET version = ? WHERE ns = ?", (lsn, ns))
    changes.note(connection, ns, lsn, np.fromiter(rows, np.int64), of_vectors)
    return lsn


def _delete_all(connection: apsw.Connection, spec: IndexSpec, ns: int) -> None:
    """Delete everything in a namespace. Its row in the table `namespaces` stays."""
    if not spec.sparse:
        vector_chunks.remove_all(connection, ns)
    vector_sums.remove(connection, ns)
    changes.stop(connection, ns)
    lexical.remove_all(connection, ns)
    learned_vectors.remove_all(connection, ns)
    reembedding.delete_all_staged(connection, ns)
    token_vectors.remove_namespace(connection, ns)
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


def _with_other_text(spec: IndexSpec, old: Sequence[StoredRecord], new: Sequence[StoredRecord]) -> list[int]:
    """Rows of the records that have another text to embed now than before."""
    return [
        after.row
        for before, after in zip(old, new, strict=True)
        if text_of(spec, before.metadata) != text_of(spec, after.metadata)
    ]


def add_derived(connection: apsw.Connection, spec: IndexSpec, ns: int, records: Collection[StoredRecord]) -> None:
    """Add the postings, the words and the counts of records that are in the table `records` already."""
    posted = _postings(records)
    names = set(map(FIELD, posted))
    connection.executemany("INSERT INTO fields (name) VALUES (?) ON CONFLICT DO NOTHING", [(n,) for n in names])
    number = _field_numbers(connection, names)
    connection.executemany(
        "INSERT INTO postings (ns, field, kind, value, record) VALUES (?, ?, ?, ?, ?)",
        sorted([(ns, number[field], kind, value, row) for field, kind, value, row in posted]),
    )
    sparse_index.add(connection, ns, _sparse(records))
    lexical.add(connection, spec, ns, [lexical.Document(record.row, record.metadata) for record in records])
    _count(connection, spec, ns, records, 1)


def _remove_derived(connection: apsw.Connection, spec: IndexSpec, ns: int, records: Collection[StoredRecord]) -> None:
    """Remove what add_derived() adds, and the new vectors of a re-embedding."""
    posted = _postings(records)
    number = _field_numbers(connection, set(map(FIELD, posted)))
    connection.executemany(
        "DELETE FROM postings WHERE ns = ? AND field = ? AND kind = ? AND value = ? AND record = ?",
        [(ns, number[field], kind, value, row) for field, kind, value, row in posted],
    )
    sparse_index.remove(connection, ns, _sparse(records))
    lexical.remove(connection, spec, ns, [lexical.Document(record.row, record.metadata) for record in records])
    reembedding.delete_staged(connection, [record.row for record in records])
    _count(connection, spec, ns, records, -1)


def _postings(records: Iterable[StoredRecord]) -> list[tuple[str, Kind, Posted, int]]:
    return [(field, kind, value, record.row) for record in records for field, kind, value in postings(record.metadata)]


def _sparse(records: Iterable[StoredRecord]) -> list[tuple[int, SparseVector]]:
    vectors = ((record.row, from_blob(record.sparse)) for record in records)
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


def _field_numbers(connection: apsw.Connection, names: Iterable[str]) -> dict[str, int]:
    return {name: connection.execute("SELECT field FROM fields WHERE name = ?", (name,)).get for name in names}
