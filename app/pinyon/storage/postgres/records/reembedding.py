"""Re-embeds an index while it answers. Plain functions on a connection, in a transaction that has locked the index.

New vectors wait in the table `reembedded` until every record has one. Then one transaction makes all of them the
vectors of the index. A write that changes a record deletes its new vector (writing.py), so that the record is embedded
again.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from pinyon import decoding
from pinyon.domain import Fingerprint, IndexSpec, ReembeddedText, Reembedding, StoredText
from pinyon.storage.postgres import catalogue
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.connection.packed import copy_in, vector_bytes
from pinyon.storage.postgres.records.selection import namespace
from pinyon.storage.postgres.records.writing import TOKEN_COLUMNS, VECTOR_COLUMNS, keeps_token_vectors
from pinyon.storage.postgres.schema.buckets import OWNER, owner
from pinyon.storage.postgres.text import learned_vectors
from pinyon.storage.postgres.vectors import vector_sums, vector_table
from pinyon.storage.shared.lexical import text_of
from pinyon.storage.shared.records import to_json
from pinyon.storage.shared.sparse import to_blob

BATCH = 5_000
"""Records that are read at a time."""


class Goal(msgspec.Struct, frozen=True):
    """Where a re-embedding leads. target: what the index will be. embedded_by: the model that embeds it."""

    target: IndexSpec
    embedded_by: Fingerprint


async def state(connection: Connection) -> Reembedding | None:
    """The progress of the re-embedding, or None if there is none. Counts every record."""
    goal = await _goal(connection)
    if goal is None:
        return None
    row = await (
        await connection.execute("SELECT (SELECT count(*) FROM reembedded), (SELECT count(*) FROM records)")
    ).fetchone()
    assert row is not None
    return Reembedding(goal.target, goal.embedded_by, *row)


async def _goal(connection: Connection) -> Goal | None:
    row = await (await connection.execute("SELECT target, fingerprint FROM reembedding")).fetchone()
    if row is None:
        return None
    return Goal(decoding.decode(row[0], IndexSpec), decoding.decode(row[1], Fingerprint))


async def begin(connection: Connection, target: IndexSpec, embedded_by: Fingerprint) -> None:
    """Begin a re-embedding. Continues one with the same goal, and cancels one with another goal."""
    if await _goal(connection) == Goal(target, embedded_by):
        return
    await cancel(connection)
    await connection.execute(
        "INSERT INTO reembedding (target, fingerprint) VALUES (%s, %s)", (to_json(target), to_json(embedded_by))
    )


async def follow(connection: Connection, spec: IndexSpec) -> None:
    """Bring the target up to date with a changed index. If another field is embedded now, drop the new vectors."""
    goal = await _goal(connection)
    if goal is None or goal.target.embed is None or spec.embed is None:
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
    await connection.execute("UPDATE reembedding SET target = %s", (to_json(target),))
    if spec.embed.text_field != before.text_field:
        await connection.execute("DELETE FROM reembedded")
        await connection.execute("UPDATE reembedding SET upto = 0")


async def cancel(connection: Connection) -> None:
    """Cancel the re-embedding and drop the new vectors. The index stays as it is."""
    await connection.execute("DELETE FROM reembedding")
    await connection.execute("DELETE FROM reembedded")


async def without_text(connection: Connection, spec: IndexSpec) -> tuple[int, str]:
    """The number of records without a text to embed, and the id of one of them ("" if there are none)."""
    count, example, last = 0, "", 0
    while rows := await (
        await connection.execute(
            "SELECT record, id, metadata FROM records WHERE record > %s ORDER BY record LIMIT %s", (last, BATCH)
        )
    ).fetchall():
        for _, id, metadata in rows:
            if text_of(spec, msgspec.json.decode(metadata)) is None:
                count, example = count + 1, id
        last = rows[-1][0]
    return count, example


async def pending(connection: Connection, most: int) -> list[StoredText]:
    """Texts of up to `most` records that have no new vector yet. Empty if every record has one or has no text."""
    row = await (await connection.execute("SELECT target, upto FROM reembedding")).fetchone()
    if row is None:
        return []
    target, upto = decoding.decode(row[0], IndexSpec), row[1]
    # Read the records after `upto` first. Then start from the beginning, to find records that have changed since.
    for after in (upto, 0):
        cursor = await connection.execute(
            f"SELECT name, id, metadata FROM records JOIN namespaces ON namespaces.ns = {OWNER} WHERE record > %s"
            " AND NOT EXISTS"
            " (SELECT FROM reembedded WHERE reembedded.ns = records.ns AND reembedded.record = records.record)"
            " ORDER BY record LIMIT %s",
            (after, most),
        )
        texts = [
            (name, id, text_of(target, msgspec.json.decode(metadata))) for name, id, metadata in await cursor.fetchall()
        ]
        if stored_texts := [StoredText(name, id, text) for name, id, text in texts if text is not None]:
            return stored_texts
    return []


async def stage(connection: Connection, embedded_by: Fingerprint, texts: Sequence[ReembeddedText]) -> bool:
    """Store new vectors, except for records that were deleted or have another text by now.

    Returns whether the index is still on its way to this embedding. If it is not, nothing is stored.
    """
    goal = await _goal(connection)
    if goal is None or goal.embedded_by != embedded_by:  # it was cancelled meanwhile, or begun for another model
        return False
    namespaces = {name: await namespace(connection, name) for name in {new.text.namespace for new in texts}}
    for new in texts:
        ns = namespaces[new.text.namespace]
        if ns is None:
            continue
        query = f"SELECT ns, record, metadata FROM records WHERE {ns.rows_of([new.text.id])} AND id = %s"
        row = await (await connection.execute(query, (new.text.id,))).fetchone()
        if row is not None and text_of(goal.target, msgspec.json.decode(row[2])) == new.text.text:
            await connection.execute(
                "INSERT INTO reembedded (ns, record, vector, truncated, learned, token_codes)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (ns, record) DO UPDATE SET vector = excluded.vector,"
                " truncated = excluded.truncated, learned = excluded.learned, token_codes = excluded.token_codes",
                (*row[:2], new.vector.tobytes(), new.truncated, to_blob(new.learned), new.token_codes),
            )
            await connection.execute("UPDATE reembedding SET upto = greatest(upto, %s)", (row[1],))
    return True


async def switch(connection: Connection, number: int, before: IndexSpec) -> bool:
    """Make the new vectors those of the index, if every record has one. Returns whether it did.

    number, before: of the index in the catalogue.
    """
    reembedding = await state(connection)
    if reembedding is None or reembedding.done < reembedding.total:
        return False
    target = reembedding.target
    await vector_table.replace(connection, target)
    await connection.execute("TRUNCATE learned_vectors, learned_sums, token_vectors, vector_sums")
    await connection.execute("UPDATE namespaces SET learned = 0")
    last = 0
    while rows := await (
        await connection.execute(
            "SELECT ns, record, vector, learned, token_codes FROM reembedded WHERE record > %s"
            " ORDER BY record LIMIT %s",
            (last, BATCH),
        )
    ).fetchall():
        await _copy(connection, target, rows)
        last = rows[-1][1]
    await connection.execute(
        "UPDATE records SET truncated = reembedded.truncated, foreign_vector = false FROM reembedded"
        " WHERE reembedded.ns = records.ns AND reembedded.record = records.record"
        " AND (records.truncated <> reembedded.truncated OR records.foreign_vector)"
    )
    await vector_sums.rebuild(connection, target)
    lsn = await catalogue.next_lsn(connection)
    await connection.execute(
        f"WITH cut AS (SELECT {OWNER} AS ns, count(*) AS truncated FROM records WHERE truncated GROUP BY 1)"
        " UPDATE namespaces SET version = %s, bytes = bytes + record_count * %s, foreign_vectors = 0,"
        " truncated = coalesce((SELECT cut.truncated FROM cut WHERE cut.ns = namespaces.ns), 0)",
        (lsn, 4 * (target.dimension - before.dimension)),
    )
    await connection.execute(
        "UPDATE indexes SET spec = %s, version = version + 1 WHERE number = %s", (to_json(target), number)
    )
    await catalogue.set_fingerprint(connection, number, reembedding.fingerprint)
    await cancel(connection)
    return True


async def _copy(connection: Connection, target: IndexSpec, rows: Sequence[tuple[Any, ...]]) -> None:
    """Store the vectors of some rows of `reembedded` in the tables of the index."""
    vectors = []
    for ns, row, blob, *_ in rows:
        vector = np.frombuffer(blob, np.float32)
        exact = vector.astype(np.float64)
        vectors.append((ns, row, float(np.sqrt(np.vecdot(exact, exact))), vector_bytes(vector)))
    await copy_in(connection, "vectors", VECTOR_COLUMNS, vectors)
    learned = [(ns, row, blob) for ns, row, _, blob, _ in rows if blob is not None]
    if learned:
        await copy_in(connection, "learned_vectors", learned_vectors.COLUMNS, learned)
        for ns in sorted({owner(bucket) for bucket, *_ in learned}):
            blobs = [blob for bucket, _, blob in learned if owner(bucket) == ns]
            await learned_vectors.count(connection, ns, blobs, 1)
    if keeps_token_vectors(target):
        codes = [(ns, row, code) for ns, row, *_, code in rows if code is not None]
        await copy_in(connection, "token_vectors", TOKEN_COLUMNS, codes)
