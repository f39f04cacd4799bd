"""Builds the HNSW indexes of namespaces that have become large, in the background; and removes those of small ones.

Several processes may notice the same namespace. An advisory lock of the database lets one of them build.
"""

import asyncio
import logging

import psycopg
from psycopg import errors

from pinyon.concurrency.cancellation import cancel
from pinyon.storage.postgres import catalogue
from pinyon.storage.postgres.catalogue_copy import CatalogueCopy, KnownIndex
from pinyon.storage.postgres.connection.database import Connection, Database
from pinyon.storage.postgres.connection.database_errors import complain
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.postgres.vectors import hnsw

QUIET_S = 0.5
"""Namespaces are looked at so soon after a write asked for it."""
GROWTH_S = 30.0
"""Seconds between two looks at a namespace that grows fast. It waits for its index: to add a record to an HNSW index
takes ten times as long as to add one without, so a load is indexed when it has ended."""
FAST_SHARE, FAST_RECORDS = 0.1, 10_000
"""A namespace grows fast if a tenth is new since the last look, or more records than an index takes in that time."""
MOST_LOOKS = 120
"""After so many looks, an hour, a namespace gets its index although it still grows fast."""
TRIED_AGAIN_S = 5.0
"""When an index is looked at again after the database did not answer."""
BUILD_BYTES = 2**30
"""The most memory that a build asks the database for (maintenance_work_mem), if shared_buffers is no larger."""
PAGE = 8192
"""Bytes of a page, in which PostgreSQL counts shared_buffers."""
NODE_BYTES = 300
"""Memory of a vector's neighbours in a build, about."""

log = logging.getLogger("pinyon.storage")


class Upkeep:
    """approximate_from: namespaces with at least this many records get an index; None: none does."""

    def __init__(self, database: Database, copy: CatalogueCopy, schema: str, approximate_from: int | None) -> None:
        self._database, self._copy, self._schema, self._from = database, copy, schema, approximate_from
        self._wanted: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._looks: dict[tuple[str, int], tuple[int, int]] = {}

    def schedule(self, name: str) -> None:
        """Look at the namespaces of an index soon."""
        if self._from is None:
            return
        self._wanted.add(name)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def idle(self) -> None:
        """Wait until nothing is left to do."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stop. The database gives up a build that is not finished; the next start begins it again."""
        if self._task is not None:
            await cancel(self._task)

    async def _work(self) -> None:
        while self._wanted:
            await asyncio.sleep(QUIET_S)
            name = self._wanted.pop()
            try:
                known = self._copy.known(name)
                if known is not None:
                    await self._bring_up_to_date(known)
            except psycopg.OperationalError as error:  # the database does not answer now
                complain(error)
                self._wanted.add(name)
                await asyncio.sleep(TRIED_AGAIN_S)
            except (errors.UndefinedTable, errors.InvalidSchemaName):  # another process has deleted the index
                continue
            except Exception:  # what could not be built is searched exactly, and is tried again after the next write
                log.exception("the large namespaces of index %s are searched exactly", name)

    def _growing(self, known: KnownIndex, counts: dict[int, int]) -> set[int]:
        """The numbers of those of the namespaces that grow fast. Remembers the counts for the next look."""
        growing = set()
        for ns, count in counts.items():
            before, looks = self._looks.get((known.schema, ns), (0, 0))
            if grows_fast(before, count) and looks < MOST_LOOKS:
                growing.add(ns)
                self._looks[known.schema, ns] = count, looks + 1
            else:
                self._looks[known.schema, ns] = count, 0
        return growing

    async def _bring_up_to_date(self, known: KnownIndex) -> None:
        kind = hnsw.kind_of(known.entry.index.spec)
        if kind is None or self._from is None:
            return
        async with self._database.transaction(known.schema) as connection:
            cursor = await connection.execute("SELECT ns, buckets, record_count FROM namespaces")
            rows = await cursor.fetchall()
            namespaces = {ns: Namespace(ns, buckets) for ns, buckets, _ in rows}
            counts = {ns: count for ns, _, count in rows}
            usable = await hnsw.usable(connection)
        missing = {ns for ns, count in counts.items() if count >= self._from} - usable
        growing = self._growing(known, {ns: counts[ns] for ns in missing})
        missing -= growing
        if growing:
            self._wanted.add(known.entry.index.name)
            await asyncio.sleep(GROWTH_S)
        spare = {ns for ns in usable if counts.get(ns, 0) < self._from / 2}
        if not missing and not spare:
            known.hnsw = dict.fromkeys(usable, kind)
            return
        async with self._database.session() as connection:
            key = f"{known.schema} hnsw"
            row = await (
                await connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (key,))
            ).fetchone()
            if row is None or not row[0]:
                return  # another process is at it, and tells when it is done
            try:
                await connection.execute(f"SET maintenance_work_mem = {await _memory(connection, known, counts)}")
                for ns in sorted(missing):
                    await _create(connection, known, namespaces[ns])
                for ns in sorted(spare):
                    await hnsw.drop(connection, known.schema, ns)
            finally:
                if not connection.closed:
                    await connection.execute("RESET maintenance_work_mem; RESET max_parallel_maintenance_workers")
                    await connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (key,))
        async with self._database.transaction(mode="write") as connection:
            await catalogue.changed(connection, self._schema)
        await self._copy.refresh()


async def _create(connection: Connection, known: KnownIndex, ns: Namespace) -> None:
    """Build an index. Several workers share memory in /dev/shm, of which a container has little: then one builds it."""
    try:
        await hnsw.create(connection, known.schema, known.entry.index.spec, ns)
    except errors.DiskFull as error:
        log.warning("a search index is built by one process, which takes longer: %s", error.diag.message_primary)
        await connection.execute("SET max_parallel_maintenance_workers = 0")
        await hnsw.create(connection, known.schema, known.entry.index.spec, ns)


def grows_fast(before: int, now: int) -> bool:
    """Whether a namespace should wait for its index. before, now: its records GROWTH_S ago, and now."""
    return now - before > min(FAST_SHARE * before, FAST_RECORDS)


async def _memory(connection: Connection, known: KnownIndex, counts: dict[int, int]) -> int:
    """maintenance_work_mem in KiB: what the largest build needs, but never less than the server's own.

    It is at most BUILD_BYTES or as much as shared_buffers, which says how large the server's machine is. If a graph is
    larger, the rest of the build takes many times as long.
    """
    query = (
        "SELECT setting::bigint FROM pg_settings WHERE name IN ('maintenance_work_mem', 'shared_buffers') ORDER BY name"
    )
    own, pages = [int(setting) for (setting,) in await (await connection.execute(query)).fetchall()]
    needed = max(counts.values(), default=0) * (4 * known.entry.index.spec.dimension + NODE_BYTES)
    return max(own, min(needed, max(BUILD_BYTES, pages * PAGE)) // 1024)
