"""Reading and writing the tables of an index file: plain functions on a connection, inside the caller's transaction."""

from collections.abc import Iterable, Sequence

import apsw
import msgspec
import numpy as np

from app.domain import Fingerprint, IndexSpec, Match, Metadata, QueryAnswer, QueryPlan, Record
from app.errors import FailedPrecondition
from app.ranking import goodness, shortest
from app.storage import migrations, vector_scan
from app.storage.filter_sql import compile_filter
from app.storage.postings import postings

FLOAT_BYTES = 4


def create_index(connection: apsw.Connection, spec: IndexSpec) -> None:
    """Say what the index is, and make the table its vectors go to."""
    connection.execute("INSERT INTO state (only, spec) VALUES (1, ?)", (_json(spec),))
    migrations.create_vectors(connection, spec.dimension, spec.metric)


def index_spec(connection: apsw.Connection) -> IndexSpec | None:
    """What the index is; None in a file whose creation never finished."""
    text = connection.execute("SELECT spec FROM state").get
    return None if text is None else msgspec.json.decode(text, type=IndexSpec)


def fingerprint(connection: apsw.Connection) -> Fingerprint | None:
    """What embedded the records; None while nothing has."""
    text = connection.execute("SELECT fingerprint FROM state").get
    return None if text is None else msgspec.json.decode(text, type=Fingerprint)


def upsert(
    connection: apsw.Connection, namespace: str, records: Sequence[Record], embedded_by: Fingerprint | None
) -> int:
    """Store the records, replacing those with the same id; the last of equal ids wins. Returns the LSN."""
    if embedded_by is not None:
        _claim(connection, embedded_by)
    ns = _namespace(connection, namespace)
    wanted = {record.id: record for record in records}
    old: dict[str, tuple[int, Metadata]] = {
        id: (row, msgspec.json.decode(text))
        for id, row, text in connection.execute(
            "SELECT id, record, metadata FROM records WHERE ns = ? AND id IN (SELECT value FROM carray(?))",
            (ns, apsw.carray(tuple(wanted))),
        )
    }
    following = connection.execute("SELECT coalesce(max(record), 0) + 1 FROM records").get
    rows = {id: old[id][0] if id in old else following + place for place, id in enumerate(wanted)}

    _unpost(connection, ns, old.values())
    connection.executemany(
        "INSERT INTO records (record, ns, id, metadata) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (record) DO UPDATE SET metadata = excluded.metadata",
        [(rows[id], ns, id, _json(record.metadata)) for id, record in wanted.items()],
    )
    # vec0 knows no UPSERT and no OR REPLACE.
    connection.executemany(
        "UPDATE vectors SET embedding = ? WHERE rowid = ?",
        [(record.vector.tobytes(), rows[id]) for id, record in wanted.items() if id in old],
    )
    connection.executemany(
        "INSERT INTO vectors (rowid, ns, embedding) VALUES (?, ?, ?)",
        [(rows[id], ns, record.vector.tobytes()) for id, record in wanted.items() if id not in old],
    )
    _post(connection, ns, [(rows[id], record.metadata) for id, record in wanted.items()])

    gained = sum(_bytes(r.id, r.metadata, len(r.vector)) for r in wanted.values()) - sum(
        _bytes(id, metadata, len(wanted[id].vector)) for id, (_, metadata) in old.items()
    )
    connection.execute(
        "UPDATE namespaces SET record_count = record_count + ?, bytes = bytes + ? WHERE ns = ?",
        (len(wanted) - len(old), gained, ns),
    )
    return int(connection.execute("UPDATE state SET lsn = lsn + 1 RETURNING lsn").get)


def query(connection: apsw.Connection, spec: IndexSpec, namespace: str, plan: QueryPlan) -> QueryAnswer:
    """The records nearest to the plan's vector or record: filter first, then rank, ties by id."""
    lsn = int(connection.execute("SELECT lsn FROM state").get)
    found = connection.execute("SELECT ns, bytes FROM namespaces WHERE name = ?", (namespace,)).get
    if found is None:
        return QueryAnswer([], lsn, 0)
    ns, size = found
    vector = plan.vector
    if vector is None:
        record = connection.execute("SELECT record FROM records WHERE ns = ? AND id = ?", (ns, plan.id)).get
        if record is None:
            return QueryAnswer([], lsn, size)
        vector = vector_scan.vector_of(connection, record)
    kept = None
    if plan.filter is not None:
        text, parameters = compile_filter(plan.filter, ns)
        rows = connection.execute(
            f"SELECT record FROM records WHERE ns = ? AND {text} ORDER BY record", [ns, *parameters]
        )
        kept = np.fromiter((row for (row,) in rows), dtype=np.int64)
    records, scores = vector_scan.nearest(connection, ns, spec.metric, vector, plan.top_k, kept)
    return QueryAnswer(_matches(connection, spec, records, scores, plan.top_k), lsn, size)


def _matches(
    connection: apsw.Connection,
    spec: IndexSpec,
    records: vector_scan.Records,
    scores: vector_scan.Vectors,
    top_k: int,
) -> list[Match]:
    """Hits with ids and fields, best first and ties by id, cut to top_k."""
    if not len(records):
        return []
    good = goodness(spec.metric, scores).tolist()
    place = {record: place for place, record in enumerate(records.tolist())}
    ids = connection.execute(
        "SELECT record, id FROM records WHERE record IN (SELECT value FROM carray(?))", (apsw.carray(records),)
    )
    order = sorted(ids, key=lambda row: (-good[place[row[0]]], row[1]))[:top_k]
    texts = dict(
        connection.execute(
            "SELECT record, metadata FROM records WHERE record IN (SELECT value FROM carray(?))",
            (apsw.carray(np.array([row for row, _ in order], dtype=np.int64)),),
        )
    )
    return [Match(id, shortest(scores[place[row]]), msgspec.json.decode(texts[row])) for row, id in order]


def _claim(connection: apsw.Connection, embedded_by: Fingerprint) -> None:
    """Vectors of two models are never mixed in one index."""
    held = fingerprint(connection)
    if held is None:
        connection.execute("UPDATE state SET fingerprint = ?", (_json(embedded_by),))
    elif held != embedded_by:
        raise FailedPrecondition(
            f"This index was embedded by '{held.weights}' ({held.version[:12]}) and cannot take vectors of "
            f"'{embedded_by.weights}' ({embedded_by.version[:12]}) until it is re-embedded"
        )


def _namespace(connection: apsw.Connection, name: str) -> int:
    connection.execute("INSERT INTO namespaces (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    return int(connection.execute("SELECT ns FROM namespaces WHERE name = ?", (name,)).get)


def _post(connection: apsw.Connection, ns: int, records: Iterable[tuple[int, Metadata]]) -> None:
    rows = [(ns, field, kind, value, row) for row, held in records for field, kind, value in postings(held)]
    names = {field for _, field, _, _, _ in rows}
    connection.executemany("INSERT INTO fields (name) VALUES (?) ON CONFLICT DO NOTHING", [(name,) for name in names])
    number = _field_numbers(connection, names)
    connection.executemany(
        "INSERT INTO postings (ns, field, kind, value, record) VALUES (?, ?, ?, ?, ?)",
        sorted((ns, number[field], int(kind), value, row) for ns, field, kind, value, row in rows),
    )


def _unpost(connection: apsw.Connection, ns: int, records: Iterable[tuple[int, Metadata]]) -> None:
    rows = [(ns, field, kind, value, row) for row, held in records for field, kind, value in postings(held)]
    number = _field_numbers(connection, {field for _, field, _, _, _ in rows})
    connection.executemany(
        "DELETE FROM postings WHERE ns = ? AND field = ? AND kind = ? AND value = ? AND record = ?",
        [(ns, number[field], int(kind), value, row) for ns, field, kind, value, row in rows],
    )


def _field_numbers(connection: apsw.Connection, names: Iterable[str]) -> dict[str, int]:
    return {name: connection.execute("SELECT field FROM fields WHERE name = ?", (name,)).get for name in names}


def _bytes(id: str, metadata: Metadata, dimension: int) -> int:
    return len(id) + len(msgspec.json.encode(metadata)) + FLOAT_BYTES * dimension


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
