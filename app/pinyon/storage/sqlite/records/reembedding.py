"""Re-embeds an index while it answers. Plain functions on a connection, inside the caller's transaction.

New vectors wait in the table `reembedded` until every record has one. Then one transaction makes all of them the
vectors of the index. A write that changes a record deletes its new vector (writing.py), so that the record is embedded
again.
"""

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from pinyon import decoding
from pinyon.domain import Fingerprint, IndexSpec, ReembeddedText, Reembedding, StoredText
from pinyon.storage.shared.lexical import text_of
from pinyon.storage.shared.sparse import to_blob
from pinyon.storage.sqlite.schema import changes, tables, token_vectors, vector_sums, vector_tables
from pinyon.storage.sqlite.text import learned_vectors


class Goal(msgspec.Struct, frozen=True):
    """Where a re-embedding leads. target: what the index will be. embedded_by: the model that embeds it."""

    target: IndexSpec
    embedded_by: Fingerprint


def state(connection: apsw.Connection) -> Reembedding | None:
    """The progress of the re-embedding, or None if there is none. Counts every record."""
    goal = _goal(connection)
    if goal is None:
        return None
    counts: Any = connection.execute("SELECT (SELECT count(*) FROM reembedded), (SELECT count(*) FROM records)").get
    return Reembedding(goal.target, goal.embedded_by, *counts)


def _goal(connection: apsw.Connection) -> Goal | None:
    """The goal of the re-embedding, or None if there is none."""
    row: Any = connection.execute("SELECT target, fingerprint FROM reembedding").get
    if row is None:
        return None
    return Goal(decoding.decode(row[0], IndexSpec), decoding.decode(row[1], Fingerprint))


def begin(connection: apsw.Connection, target: IndexSpec, embedded_by: Fingerprint) -> None:
    """Begin a re-embedding. Continues one with the same goal, and cancels one with another goal."""
    if _goal(connection) == Goal(target, embedded_by):
        return
    cancel(connection)
    connection.execute(
        "INSERT INTO reembedding (only, target, fingerprint) VALUES (1, ?, ?)",
        (tables.to_json(target), tables.to_json(embedded_by)),
    )


def follow(connection: apsw.Connection) -> None:
    """Bring the target up to date with a changed index. If another field is embedded now, drop the new vectors."""
    goal, spec = _goal(connection), tables.index_spec(connection)
    if goal is None or spec is None or goal.target.embed is None or spec.embed is None:
        return
    before = goal.target.embed
    embed = msgspec.structs.replace(
        spec.embed,
        model=before.model,
        read_truncate=before.read_truncate,
        write_truncate=before.write_truncate,
        sparse_model=before.sparse_model,
    )
    target = msgspec.structs.replace(spec, dimension=goal.target.dimension, embed=embed)
    connection.execute("UPDATE reembedding SET target = ?", (tables.to_json(target),))
    if spec.embed.text_field != before.text_field:
        connection.execute("DELETE FROM reembedded")
        connection.execute("UPDATE reembedding SET upto = 0")


def cancel(connection: apsw.Connection) -> None:
    """Cancel the re-embedding and drop the new vectors. The index stays as it is."""
    connection.execute("DELETE FROM reembedding")
    connection.execute("DELETE FROM reembedded")


def without_text(connection: apsw.Connection, spec: IndexSpec) -> tuple[int, str]:
    """The number of records without a text to embed, and the id of one of them ("" if there are none)."""
    count, example = 0, ""
    rows: Any = connection.execute("SELECT id, metadata FROM records")
    for id, metadata in rows:
        if text_of(spec, msgspec.json.decode(metadata)) is None:
            count, example = count + 1, id
    return count, example


def pending(connection: apsw.Connection, most: int) -> list[StoredText]:
    """Texts of up to `most` records that have no new vector yet. Empty if every record has one or has no text."""
    row: Any = connection.execute("SELECT target, upto FROM reembedding").get
    if row is None:
        return []
    target, upto = decoding.decode(row[0], IndexSpec), row[1]
    # Read the records after `upto` first. Then start from the beginning, to find records that have changed since.
    for after in (upto, 0):
        rows: Any = connection.execute(
            "SELECT name, id, metadata FROM records JOIN namespaces USING (ns)"
            " WHERE record > ? AND record NOT IN (SELECT record FROM reembedded) ORDER BY record LIMIT ?",
            (after, most),
        ).fetchall()
        texts = [(name, id, text_of(target, msgspec.json.decode(metadata))) for name, id, metadata in rows]
        if stored_texts := [StoredText(name, id, text) for name, id, text in texts if text is not None]:
            return stored_texts
    return []


def stage(connection: apsw.Connection, embedded_by: Fingerprint, texts: Sequence[ReembeddedText]) -> bool:
    """Store new vectors, except for records that were deleted or have another text by now.

    Returns whether the index is still on its way to this embedding. If it is not, nothing is stored.
    """
    goal = _goal(connection)
    if goal is None or goal.embedded_by != embedded_by:  # it was cancelled meanwhile, or begun for another model
        return False
    for new in texts:
        record: Any = connection.execute(
            "SELECT record, metadata FROM records WHERE ns = (SELECT ns FROM namespaces WHERE name = ?) AND id = ?",
            (new.text.namespace, new.text.id),
        ).get
        if record is not None and text_of(goal.target, msgspec.json.decode(record[1])) == new.text.text:
            connection.execute(
                "INSERT OR REPLACE INTO reembedded (record, vector, truncated, learned, token_codes)"
                " VALUES (?, ?, ?, ?, ?)",
                (record[0], new.vector.tobytes(), new.truncated, to_blob(new.learned), new.token_codes),
            )
            connection.execute("UPDATE reembedding SET upto = max(upto, ?)", (record[0],))
    return True


def delete_staged(connection: apsw.Connection, records: Sequence[int]) -> None:
    """Delete the new vectors of records that change. records: their row numbers."""
    connection.executemany("DELETE FROM reembedded WHERE record = ?", [(record,) for record in records])


def delete_all_staged(connection: apsw.Connection, ns: int) -> None:
    """Delete the new vectors of a namespace. Call before its records are deleted."""
    connection.execute("DELETE FROM reembedded WHERE record IN (SELECT record FROM records WHERE ns = ?)", (ns,))


def switch(connection: apsw.Connection) -> bool:
    """Make the new vectors those of the index, if every record has one. Returns whether it did."""
    reembedding, before = state(connection), tables.index_spec(connection)
    if reembedding is None or before is None or reembedding.done < reembedding.total:
        return False
    target = reembedding.target
    connection.execute("DROP TABLE vectors")
    vector_tables.create_vectors(connection, target.dimension, target.metric)
    connection.execute(
        "INSERT INTO vectors (rowid, ns, embedding)"
        " SELECT record, ns, vector FROM reembedded JOIN records USING (record) ORDER BY ns, record"
    )
    connection.execute(
        "UPDATE records SET truncated = reembedded.truncated FROM reembedded WHERE reembedded.record = records.record"
    )
    learned_vectors.replace_all(connection, "SELECT record, learned FROM reembedded WHERE learned IS NOT NULL")
    connection.execute("UPDATE records SET foreign_vector = 0 WHERE foreign_vector")
    token_vectors.replace_all(connection, target)
    vector_sums.rebuild(connection, target)
    changes.stop(connection)
    lsn = tables.next_lsn(connection)
    connection.execute(
        "UPDATE namespaces SET version = ?, bytes = bytes + record_count * ?,"
        " truncated = (SELECT coalesce(sum(truncated), 0) FROM records WHERE records.ns = namespaces.ns)",
        (lsn, 4 * (target.dimension - before.dimension)),
    )
    connection.execute(
        "UPDATE state SET spec = ?, fingerprint = ?, version = version + 1",
        (tables.to_json(target), tables.to_json(reembedding.fingerprint)),
    )
    cancel(connection)
    return True
