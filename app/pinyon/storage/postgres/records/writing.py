"""Writes records. Plain functions on a connection, inside a transaction that has locked the index (catalogue.py).

Every change of a record also changes its vector, its numbers, its words and the counts of its namespace. A record that
is replaced is deleted and inserted again with its number: in PostgreSQL an update is no less work.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec, Record, Selection, UpdatePlan
from pinyon.errors import NotFound
from pinyon.storage.postgres import catalogue
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.connection.packed import copy_in, jsonb_bytes, vector_bytes
from pinyon.storage.postgres.filters import filterable
from pinyon.storage.postgres.filters.joins import filtering
from pinyon.storage.postgres.records import namespaces
from pinyon.storage.postgres.records.selection import namespace as find_namespace
from pinyon.storage.postgres.records.selection import where
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.postgres.schema.migrations import DERIVED_OF_NAMESPACE, STORED_OF_NAMESPACE
from pinyon.storage.postgres.text import learned_vectors, lexical, sparse_index
from pinyon.storage.postgres.vectors import vector_sums
from pinyon.storage.shared.lexical import text_of
from pinyon.storage.shared.records import (
    StoredRecord,
    check_dimension,
    check_number_selected,
    size_of,
    stored,
    updated,
)

BATCH = 1_000
"""Records that an update or a delete holds in memory at a time."""
RECORD_COLUMNS = {
    "ns": "int8",
    "record": "int8",
    "id": "text",
    "metadata": "text",
    "fields": "jsonb",
    "sparse": "bytea",
    "truncated": "bool",
    "foreign_vector": "bool",
    "terms": "bytea",
    "words": "int4",
    "language": "text",
    "certain": "bool",
}
NUMBER_COLUMNS = {"ns": "int8", "field": "int8", "value": "float8", "record": "int8"}
VECTOR_COLUMNS = {"ns": "int8", "record": "int8", "norm": "float8", "embedding": "vector"}
TOKEN_COLUMNS = {"ns": "int8", "record": "int8", "codes": "bytea"}
READ = "record, id, metadata, sparse, truncated, foreign_vector"
Vector = NDArray[np.float32]


class OldRecord(msgspec.Struct, frozen=True):
    """A record that is stored. foreign: whether its vector came from elsewhere than the model of the index."""

    record: StoredRecord
    foreign: bool


async def upsert(
    connection: Connection, spec: IndexSpec, namespace: str, records: Sequence[Record], foreign: bool = False
) -> int:
    """Store the records. Returns the LSN of the write.

    A record replaces the stored one with the same id. If several records have the same id, the last one counts.
    foreign: the index embeds text, and these vectors come from elsewhere. Raises InvalidArgument if a vector does not
    have the dimension of the index.
    """
    check_dimension(spec, (record.vector for record in records))
    ns = await namespaces.named(connection, namespace)
    by_id = {record.id: record for record in records}
    old = {each.record.id: each for each in await _selected(connection, ns, Selection(ids=list(by_id)))}
    first = await _next_rows(connection, len(by_id) - len(old))
    free = iter(range(first, first + len(by_id) - len(old)))
    rows = {id: old[id].record.row if id in old else next(free) for id in by_id}
    await _remove(connection, spec, ns, list(old.values()))
    await _insert(connection, spec, ns, [(stored(rows[id], record), foreign) for id, record in by_id.items()])
    await _insert_vectors(
        connection,
        spec,
        ns,
        [(ns.bucket(id), rows[id], r.vector) for id, r in by_id.items() if r.vector is not None],
    )
    learned = [(ns.bucket(id), rows[id], r.learned) for id, r in by_id.items() if r.learned]
    await learned_vectors.store(connection, ns, learned)
    if keeps_token_vectors(spec):
        codes = [(ns.bucket(id), rows[id], r.token_codes) for id, r in by_id.items() if r.token_codes is not None]
        await copy_in(connection, "token_vectors", TOKEN_COLUMNS, codes)
    return await _written(connection, ns)


async def update(connection: Connection, spec: IndexSpec, namespace: str, plan: UpdatePlan) -> tuple[int, int]:
    """Change the selected records. Returns how many there are, and the LSN of the write.

    Raises InvalidArgument if the plan's vector does not have the dimension of the index, if more records are selected
    than the plan allows, or if the metadata of a record would be larger than it allows.
    """
    check_dimension(spec, [plan.vector])
    ns = await find_namespace(connection, namespace)
    selected = [] if ns is None else await _selected_rows(connection, ns, plan.selection)
    check_number_selected(plan, len(selected))
    if ns is None or not selected:
        # It is a write all the same, so that the LSN does not tell whether any record was selected.
        return 0, await catalogue.next_lsn(connection)
    for start in range(0, len(selected), BATCH):
        part = selected[start : start + BATCH]
        old = await _rows(connection, ns, part)
        new = [(updated(each.record, plan), _is_foreign(each, spec, plan)) for each in old]
        other_text = [
            after.row
            for each, (after, _) in zip(old, new, strict=True)
            if text_of(spec, each.record.metadata) != text_of(spec, after.metadata)
        ]
        await _delete_rows(connection, "token_vectors", ns, other_text)
        if spec.embed is not None and spec.embed.text_field in (plan.metadata or {}):
            await learned_vectors.remove(connection, ns, part)  # nobody has read the new text
        await _remove_derived(connection, spec, ns, old)
        await _delete_rows(connection, "records", ns, part)
        await _insert(connection, spec, ns, new)
        if plan.vector is not None and not spec.sparse:
            await vector_sums.subtract(connection, spec, ns, part)
            await _delete_rows(connection, "vectors", ns, part)
            places = [(ns.bucket(each.record.id), each.record.row) for each in old]
            await _insert_vectors(connection, spec, ns, [(*place, plan.vector) for place in places])
    return len(selected), await _written(connection, ns)


async def count(connection: Connection, namespace: str, selection: Selection) -> int:
    """The number of selected records."""
    ns = await find_namespace(connection, namespace)
    if ns is None:
        return 0
    text, parameters = where(selection, ns)
    async with filtering(connection, ns):
        row = await (await connection.execute(f"SELECT count(*) FROM records WHERE {text}", parameters)).fetchone()
    assert row is not None
    return int(row[0])


async def delete(connection: Connection, spec: IndexSpec, namespace: str, selection: Selection) -> int:
    """Delete the selected records. The namespace stays. Returns the LSN of the write.

    Raises NotFound if there is no such namespace.
    """
    ns = await find_namespace(connection, namespace)
    if ns is None:
        raise NotFound("Namespace not found")
    if selection.ids is None and selection.filter is None:
        await _delete_all(connection, ns)
        return await _written(connection, ns)
    selected = await _selected_rows(connection, ns, selection)
    for start in range(0, len(selected), BATCH):
        await _remove(connection, spec, ns, await _rows(connection, ns, selected[start : start + BATCH]))
    return await _written(connection, ns)


async def delete_namespace(connection: Connection, namespace: str) -> int:
    """Delete a namespace with its records. Returns the LSN of the write. Raises NotFound."""
    ns = await find_namespace(connection, namespace)
    if ns is None:
        raise NotFound("Namespace not found")
    await _delete_all(connection, ns)
    await connection.execute(f"DELETE FROM namespaces WHERE ns = {ns.number}")
    return await catalogue.next_lsn(connection)


def keeps_token_vectors(spec: IndexSpec) -> bool:
    """Whether the index stores the token vectors of texts."""
    return spec.embed is not None and spec.embed.token_vectors == "stored"


def _is_foreign(old: OldRecord, spec: IndexSpec, plan: UpdatePlan) -> bool:
    """Whether the vector of a record is a caller's own after an update."""
    return old.foreign if plan.vector is None else spec.embed is not None


async def _next_rows(connection: Connection, number: int) -> int:
    """Take so many row numbers. Returns the first."""
    row = await (
        await connection.execute("UPDATE state SET next_record = next_record + %s RETURNING next_record", (number,))
    ).fetchone()
    assert row is not None
    return int(row[0]) - number


async def _written(connection: Connection, ns: Namespace) -> int:
    """Give the write an LSN, and mark the namespace as changed by it. Returns the LSN."""
    lsn = await catalogue.next_lsn(connection)
    await connection.execute(f"UPDATE namespaces SET version = %s WHERE ns = {ns.number}", (lsn,))
    return lsn


async def _insert(
    connection: Connection, spec: IndexSpec, ns: Namespace, records: Sequence[tuple[StoredRecord, bool]]
) -> None:
    """Insert records with everything that is derived from them, but without their vectors. bool: foreign."""
    bare = [record for record, _ in records]
    texts = await lexical.indexed(connection, spec, ns, bare)
    rows = []
    for record, foreign in records:
        text = texts.get(record.row)
        of_text = (None, 0, None, False) if text is None else (text.distinct, text.words, text.language, text.certain)
        fields = jsonb_bytes(filterable.filterable(ns.number, record.metadata))
        bucket = ns.bucket(record.id)
        own = (bucket, record.row, record.id, record.json, fields, record.sparse, record.truncated, foreign)
        rows.append((*own, *of_text))
    await copy_in(connection, "records", RECORD_COLUMNS, rows)
    numbers = [
        (ns.bucket(record.id), field, value, record.row)
        for record in bare
        for field, value in filterable.numbers(record.metadata)
    ]
    if numbers:
        await copy_in(connection, "numbers", NUMBER_COLUMNS, numbers)
    await sparse_index.add(connection, ns, bare)
    await lexical.add(connection, ns, texts)
    await _count(connection, spec, ns, records, 1)


async def _insert_vectors(
    connection: Connection, spec: IndexSpec, ns: Namespace, vectors: Sequence[tuple[int, int, Vector]]
) -> None:
    """Store the vectors of rows that have none. vectors: with the buckets and the row numbers."""
    if not spec.sparse and vectors:
        exact = np.stack([vector for *_, vector in vectors]).astype(np.float64)
        norms = np.sqrt(np.vecdot(exact, exact)).tolist()
        rows = [
            (bucket, row, norm, vector_bytes(vector))
            for (bucket, row, vector), norm in zip(vectors, norms, strict=True)
        ]
        await copy_in(connection, "vectors", VECTOR_COLUMNS, rows)
        await vector_sums.add(connection, spec, ns, [vector for *_, vector in vectors])


async def _remove(connection: Connection, spec: IndexSpec, ns: Namespace, old: Sequence[OldRecord]) -> None:
    """Delete records with everything that belongs to them."""
    if not old:
        return
    rows = [each.record.row for each in old]
    await _remove_derived(connection, spec, ns, old)
    await learned_vectors.remove(connection, ns, rows)
    await vector_sums.subtract(connection, spec, ns, rows)
    for table in ("token_vectors", "vectors", "records"):
        await _delete_rows(connection, table, ns, rows)


async def _remove_derived(connection: Connection, spec: IndexSpec, ns: Namespace, old: Sequence[OldRecord]) -> None:
    """Remove what _insert() adds beside the records, and the new vectors of a re-embedding."""
    bare = [each.record for each in old]
    rows = [record.row for record in bare]
    await lexical.remove(connection, ns, rows)
    await sparse_index.remove(connection, ns, bare)
    triples = [(field, value, record.row) for record in bare for field, value in filterable.numbers(record.metadata)]
    if triples:
        fields, values, numbers = zip(*triples, strict=True)
        await connection.execute(
            "DELETE FROM numbers USING unnest(%s::bigint[], %s::double precision[], %s::bigint[])"
            f" AS gone (field, value, record) WHERE {ns.rows} AND numbers.field = gone.field"
            " AND numbers.value = gone.value AND numbers.record = gone.record",
            (list(fields), list(values), list(numbers)),
        )
    await _delete_rows(connection, "reembedded", ns, rows)
    await _count(connection, spec, ns, [(each.record, each.foreign) for each in old], -1)


async def _delete_rows(connection: Connection, table: str, ns: Namespace, rows: Sequence[int]) -> None:
    if rows:
        await connection.execute(f"DELETE FROM {table} WHERE {ns.rows} AND record = ANY(%s)", (list(rows),))


async def _delete_all(connection: Connection, ns: Namespace) -> None:
    """Delete everything in a namespace. Its row in the table `namespaces` stays."""
    for table in (*DERIVED_OF_NAMESPACE, *STORED_OF_NAMESPACE):
        await connection.execute(f"DELETE FROM {table} WHERE {ns.rows}")
    await connection.execute(
        "UPDATE namespaces SET record_count = 0, bytes = 0, truncated = 0, foreign_vectors = 0, texts = 0, words = 0,"
        f" learned = 0 WHERE ns = {ns.number}"
    )


async def _count(
    connection: Connection, spec: IndexSpec, ns: Namespace, records: Collection[tuple[StoredRecord, bool]], sign: int
) -> None:
    """Add records to the counts of their namespace. sign: 1, or -1 to subtract them."""
    size = sum(size_of(spec, record.id, record.json, record.sparse) for record, _ in records)
    truncated = sum(record.truncated for record, _ in records)
    foreign = sum(is_foreign for _, is_foreign in records)
    await connection.execute(
        "UPDATE namespaces SET record_count = record_count + %s, bytes = bytes + %s, truncated = truncated + %s,"
        f" foreign_vectors = foreign_vectors + %s WHERE ns = {ns.number}",
        (sign * len(records), sign * size, sign * truncated, sign * foreign),
    )


async def _selected_rows(connection: Connection, ns: Namespace, selection: Selection) -> list[int]:
    text, parameters = where(selection, ns)
    async with filtering(connection, ns):
        cursor = await connection.execute(f"SELECT record FROM records WHERE {text} ORDER BY record", parameters)
        return [row for (row,) in await cursor.fetchall()]


async def _selected(connection: Connection, ns: Namespace, selection: Selection) -> list[OldRecord]:
    text, parameters = where(selection, ns)
    return _decoded(await (await connection.execute(f"SELECT {READ} FROM records WHERE {text}", parameters)).fetchall())


async def _rows(connection: Connection, ns: Namespace, rows: Sequence[int]) -> list[OldRecord]:
    query = f"SELECT {READ} FROM records WHERE {ns.rows} AND record = ANY(%s) ORDER BY record"
    return _decoded(await (await connection.execute(query, (list(rows),))).fetchall())


def _decoded(rows: Sequence[tuple[Any, ...]]) -> list[OldRecord]:
    return [
        OldRecord(StoredRecord(row, id, msgspec.json.decode(text), sparse, text, truncated), foreign)
        for row, id, text, sparse, truncated, foreign in rows
    ]
