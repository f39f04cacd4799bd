"""Whether the tables of an index in PostgreSQL agree with each other."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg
from pinyon.domain import IndexSpec
from pinyon.search.text.analysis import analysed, analysed_as, detects
from pinyon.storage.postgres.filters import filterable
from pinyon.storage.postgres.schema.buckets import Namespace, owner
from pinyon.storage.postgres.text.lexical import hashed
from pinyon.storage.shared import sparse
from pinyon.storage.shared.lexical import text_of
from pinyon.storage.shared.records import size_of

from tests.postgres.shared_server import schema_of, shared

Row = tuple[Any, ...]


def problems(folder: Path, index: str) -> list[str]:
    """Everything that does not fit; empty when all is well."""
    return problems_in(shared().dsn, schema_of(folder), index)


def problems_in(dsn: str, schema: str, index: str) -> list[str]:
    """The same for the catalogue in a schema of a database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        number, text = connection.execute(
            f"SELECT number, spec FROM {schema}.indexes WHERE name = %s", (index,)
        ).fetchone() or (0, "")
        connection.execute(f"SET search_path TO {schema}_{number}, {schema}, public")
        return list(_problems(connection, msgspec.json.decode(text, type=IndexSpec)))


def _problems(connection: psycopg.Connection[Row], spec: IndexSpec) -> list[str]:
    told: list[str] = []

    def rows(query: str) -> list[Row]:
        return connection.execute(query).fetchall()

    def compare(what: str, stored: list[Row], wanted: list[Row]) -> None:
        if sorted(stored) != sorted(wanted):
            told.append(f"{what}: {len(set(wanted) - set(stored))} missing, {len(set(stored) - set(wanted))} too many")

    records = rows(
        "SELECT ns, record, id, metadata, fields::text, sparse, truncated, foreign_vector, terms, words, language FROM records"
    )
    decoded = [(row, msgspec.json.decode(row[3])) for row in records]
    for row, metadata in decoded:
        if msgspec.json.decode(row[4]) != msgspec.json.decode(filterable.filterable(owner(row[0]), metadata)):
            told.append(f"fields of {row[2]}")
    keys = [row[:2] for row in records]
    if not spec.sparse:
        compare("vectors", rows("SELECT ns, record FROM vectors"), keys)
    compare(
        "numbers",
        rows("SELECT ns, field, value, record FROM numbers"),
        [(row[0], field, value, row[1]) for row, metadata in decoded for field, value in filterable.numbers(metadata)],
    )
    sparse_rows = []
    for row, _ in decoded:
        vector = sparse.from_blob(row[5])
        if vector is not None:
            terms = zip(vector.indices.tolist(), vector.values.tolist(), strict=True)
            sparse_rows += [(row[0], term, row[1], np.float32(weight).item()) for term, weight in terms]
    stored_weights = [
        (*rest, np.float32(weight).item())
        for *rest, weight in rows("SELECT ns, term, record, weight FROM sparse_postings")
    ]
    compare("sparse postings", stored_weights, sparse_rows)
    postings: list[Row] = []
    for row, metadata in decoded:
        of_row = _terms(spec, metadata, row[10])
        if (of_row is None) != (row[8] is None):
            told.append(f"terms of {row[2]}")
        if of_row is not None:
            postings += [(row[0], term, row[1], of_row.count(term), row[9]) for term in set(of_row)]
    compare("postings", rows("SELECT ns, term, record, count, words FROM postings"), postings)
    for number, buckets, name, *counts in rows(
        "SELECT ns, buckets, name, record_count, bytes, truncated, foreign_vectors, texts, words, learned FROM namespaces"
    ):
        ns = Namespace(number, buckets)
        own = [row for row in records if owner(row[0]) == number]
        told += [f"{row[2]} is in bucket {row[0]}" for row in own if row[0] != ns.bucket(row[2])]
        learned = rows(f"SELECT count(*) FROM learned_vectors WHERE {ns.rows}")[0][0]
        wanted = [
            len(own),
            sum(size_of(spec, row[2], row[3], row[5]) for row in own),
            sum(row[6] for row in own),
            sum(row[7] for row in own),
            sum(row[8] is not None for row in own),
            sum(row[9] for row in own),
            learned,
        ]
        if counts != wanted:
            told.append(f"counts of {name}: {counts}, {wanted} in the records")
        blobs = [blob for (blob,) in rows(f"SELECT vector FROM learned_vectors WHERE {ns.rows}")]
        terms, sums = sparse.term_sums(blobs)
        expected = [pair for pair in zip(terms.tolist(), sums.tolist(), strict=True) if pair[1]]
        compare("learned sums", rows(f"SELECT term, sum FROM learned_sums WHERE ns = {number} AND sum <> 0"), expected)
    for table in (
        "vectors",
        "learned_vectors",
        "token_vectors",
        "reembedded",
        "postings",
        "numbers",
        "sparse_postings",
    ):
        orphans = rows(
            f"SELECT count(*) FROM {table} t WHERE NOT EXISTS (SELECT FROM records r WHERE r.ns = t.ns AND r.record = t.record)"
        )
        if orphans != [(0,)]:
            told.append(f"{orphans[0][0]} rows of {table} without a record")
    return told


def _terms(spec: IndexSpec, metadata: dict[str, Any], language: str | None) -> list[int] | None:
    text = text_of(spec, metadata)
    if text is None or spec.embed is None:
        return None
    if detects(spec.embed.analysis):
        return [hashed(term) for term in analysed_as(text, language or "", spec.embed.analysis).terms]
    return [hashed(term) for term in analysed([text], spec.embed.analysis)[0].terms]
