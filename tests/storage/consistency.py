"""Whether the tables of an index file agree with each other."""

from pathlib import Path

import msgspec

from app.storage.database import connect
from app.storage.postings import postings


def problems(file: Path) -> list[str]:
    """Everything that does not fit; empty when all is well."""
    connection = connect(file, 0, "write")  # replays the log, as the server does at its next start
    found = [str(row) for row in connection.execute("PRAGMA integrity_check") if row != ("ok",)]
    records = connection.execute("SELECT record, ns, id, metadata FROM records").fetchall()

    vectors = {row for (row,) in connection.execute("SELECT rowid FROM vectors")}
    if vectors != {record for record, *_ in records}:
        found.append(f"{len(vectors)} vectors for {len(records)} records")

    fields = dict(connection.execute("SELECT name, field FROM fields"))
    wanted = {
        (ns, fields.get(field), int(kind), value, record)
        for record, ns, _, text in records
        for field, kind, value in postings(msgspec.json.decode(text))
    }
    held = set(connection.execute("SELECT ns, field, kind, value, record FROM postings"))
    if wanted != held:
        found.append(f"{len(wanted - held)} postings missing, {len(held - wanted)} too many")

    for ns, name, count in connection.execute("SELECT ns, name, record_count FROM namespaces").fetchall():
        there = sum(1 for _, record_ns, *_ in records if record_ns == ns)
        if there != count:
            found.append(f"namespace {name} counts {count} records and has {there}")
    connection.close()
    return found
