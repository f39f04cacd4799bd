"""Which namespaces have an inverted file, and keeping each up to date, beside everything else; columns along with it.

The tables are the truth: until an inverted file is there, queries are answered exactly. It is built from the tables in
short reads, follows the changes that writes note down (changes.py), and is kept in two files beside the index's, so
that the next start only has to catch up.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec
import numpy as np

from pinyon import metrics
from pinyon.domain import IndexSpec
from pinyon.errors import NotFound
from pinyon.storage.sqlite.connection.database import Database
from pinyon.storage.sqlite.filters.column_store import ColumnStore
from pinyon.storage.sqlite.ivf import ivf_index
from pinyon.storage.sqlite.ivf.ivf_files import InvertedFiles
from pinyon.storage.sqlite.ivf.ivf_index import Builder, InvertedFile
from pinyon.storage.sqlite.row_sets import Records, Vectors
from pinyon.storage.sqlite.schema import changes, tables
from pinyon.storage.sqlite.upkeep.write_debounce import Filling, Rest
from pinyon.storage.sqlite.vectors import vector_rows
from pinyon.storage.sqlite.vectors.vector_cache import Key, VectorCache

T = TypeVar("T")
Part = tuple[Records, Vectors]
"""Row numbers and their vectors."""

CHUNKS_AT_ONCE, ROWS_AT_ONCE = 64, 4_096
"""Read at a time: other readers wait no longer."""
KEPT_FROM = 0.5
"""Share of the least number of records under which an inverted file is given up."""
MOST_STALE, MOST_GROWN, MOST_CHANGED, MOST_BADLY_CODED = 0.3, 2.0, 0.3, 0.03
"""When to build anew: share of rows gone or changed, growth since it was built, share changed at once, share of later
rows that the codes represent badly."""
FOLLOWED_FROM, SETTLED_AFTER = 2_000, 100
"""Records of a namespace whose changes are noted down for vectors in memory; writes after which they are forgotten."""
SAVED_AFTER = 0.1
"""Share of the rows that may have changed since it was saved."""

log = logging.getLogger("pinyon.storage")


class Held(msgspec.Struct):
    """An inverted file in use. size: vectors when it was built. unsaved: rows changed since it was saved.

    distrusted: its answers were found to miss too many, perhaps while it was caught up with.
    """

    file: InvertedFile
    namespace: str
    size: int
    unsaved: int = 0
    distrusted: bool = False


class Situation(msgspec.Struct, frozen=True):
    """A namespace as one snapshot sees it."""

    spec: IndexSpec
    namespace: str
    ns: int
    count: int
    version: int
    followed: int | None


class Approximate:
    """The inverted files of an installation.

    from_records: how large a namespace must be; None: nothing may be written.
    """

    def __init__(self, folder: Path, from_records: float | None, columns: ColumnStore, vectors: VectorCache) -> None:
        self._files, self._from = InvertedFiles(folder), from_records
        self._columns, self._vectors = columns, vectors
        self._held: dict[Key, Held] = {}
        self._hopeless: dict[Key, int] = {}
        self._distrusted: dict[Key, int] = {}
        self._waiting: dict[tuple[str, str], Database] = {}
        self._filling = Filling()
        self._called = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._at: str | None = None
        self._thread: ThreadPoolExecutor | None = None

    def get(self, handle: str, ns: int) -> InvertedFile | None:
        """The inverted file of a namespace, if there is one."""
        held = self._held.get((handle, ns))
        return None if held is None else held.file

    def distrust(self, database: Database, handle: str, namespace: str) -> None:
        """Answer exactly from now on, until the inverted file is built anew: its answers are worse than they may be.

        If that was done before, and the namespace has hardly grown, it stays exact.
        """
        for key, held in list(self._held.items()):
            if (key[0], held.namespace) == (handle, namespace):
                log.warning("answers for namespace %s of %s miss too many; it is searched exactly now", key[1], handle)
                metrics.became_exact()
                held.distrusted = True
                del self._held[key]
                self._files.remove(*key)
                if held.size < MOST_GROWN * self._distrusted.get(key, 0):
                    self._hopeless[key] = held.size
                self._distrusted[key] = held.size
        self.look_at(database, handle, namespace)

    def look_at(self, database: Database, handle: str, namespace: str) -> None:
        """See, soon, to a namespace that was written to, or has just been opened."""
        if self._from is None or database.closed:
            return
        self._waiting[handle, namespace] = database
        self._called.set()
        self._go_on()

    async def open(self, database: Database, handle: str) -> None:
        """See to every large namespace of an index; files and notes of others are dropped."""
        least = None if self._from is None else self._from * KEPT_FROM
        large, followed = await database.read(partial(_large_and_followed, least=least))
        for ns in followed - large.keys():
            await database.write(partial(changes.stop, ns=ns))
        self._files.remove_others(handle, set(large))
        for name in large.values():
            self.look_at(database, handle, name)

    async def settled(self) -> None:
        """Wait until everything that is known of is seen to."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def forget(self, handle: str) -> None:
        """Let go of an index that is to be deleted, or was changed as a whole; nothing touches its files after this."""
        self._filling.forget(handle)
        if self._at == handle:
            await self._interrupt()
        self._waiting = {key: database for key, database in self._waiting.items() if key[0] != handle}
        self._held = {key: held for key, held in self._held.items() if key[0] != handle}
        self._hopeless = {key: count for key, count in self._hopeless.items() if key[0] != handle}
        self._distrusted = {key: count for key, count in self._distrusted.items() if key[0] != handle}
        self._columns.keep_only(handle)
        self._go_on()

    async def close(self) -> None:
        """Stop working; what is not saved is caught up with at the next start."""
        self._waiting.clear()
        self._filling.forget()
        await self._interrupt()
        if self._thread is not None:
            self._thread.shutdown()

    def _go_on(self) -> None:
        if (self._waiting or self._filling) and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._work())

    async def _interrupt(self) -> None:
        """Stop what is being done; what was interrupted waits again."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._thread is not None:
            await self._compute(lambda: None)  # behind what runs there

    async def _work(self) -> None:
        while self._waiting or self._filling:
            self._waiting |= self._filling.due()
            if not self._waiting:
                await self._rest(self._filling.wait_s())
                continue
            handle, namespace = next(iter(self._waiting))
            database = self._waiting[handle, namespace]
            del self._waiting[handle, namespace]
            rest = self._filling.take((handle, namespace))
            self._at = handle
            try:
                await self._see_to(database, handle, namespace, rest)
            except asyncio.CancelledError:
                self._waiting[handle, namespace] = database
                raise
            except NotFound:  # the index was deleted meanwhile
                continue
            except Exception:  # the tables are whole, and answer exactly
                log.exception("no inverted file for namespace %r of %s", namespace, handle)
                with contextlib.suppress(Exception):
                    await self._give_up(database, handle, namespace)
            finally:
                self._at = None

    async def _rest(self, seconds: float) -> None:
        """Wait so long, or until a namespace is to be looked at."""
        self._called.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._called.wait()

    async def _see_to(self, database: Database, handle: str, namespace: str, rest: Rest | None) -> None:
        assert self._from is not None
        at = await database.read(partial(_situation, namespace=namespace))
        for key in [key for key, held in self._held.items() if (key[0], held.namespace) == (handle, namespace)]:
            if at is None or key[1] != at.ns:  # it was deleted, and perhaps made again
                del self._held[key]
                self._files.remove(*key)
        if at is None:
            self._columns.keep_only(handle, await database.read(_numbers))
        if at is None or at.spec.sparse:
            return
        key = handle, at.ns
        held = self._held.get(key)
        if held is not None and (at.followed is None or held.file.version < at.followed):
            held = self._held.pop(key, None) and None
        await self._columns.see_to(database, key, at.count, self._compute)
        if at.count < self._from * KEPT_FROM:
            if self._held.pop(key, None) is not None:
                self._files.remove(*key)
            await self._note_for_others(database, handle, at, at.followed is not None)
            return
        if held is None and at.followed is not None:
            held = await self._load(database, handle, at)
        if held is not None and held.file.version < at.version:
            held = await self._catch_up(database, held, at)
        if held is not None and held.distrusted:
            held = None
        worn = held is None or held.file.stale > MOST_STALE or held.file.badly_coded > MOST_BADLY_CODED
        if held is None or worn or at.count > MOST_GROWN * held.size:
            enough = max(self._from, MOST_GROWN * self._hopeless.get(key, 0))
            name = handle, namespace
            if at.count < enough or not self._filling.is_over(name, rest, database, at.version):
                if held is None:
                    await self._stop(database, handle, at, at.followed is not None)
                else:
                    self._held[key] = held
                return
            built = await self._build(database, handle, at)
            if built is None:
                self._hopeless[key] = at.count
                return
            held = await self._catch_up(database, built, at)
            if held is None:  # much was written meanwhile
                self._waiting[handle, namespace] = database
                return
        self._held[key] = held
        if held.unsaved > SAVED_AFTER * held.size:
            await self._save(database, handle, at, held)

    async def _give_up(self, database: Database, handle: str, namespace: str) -> None:
        """Search the namespace exactly, and do not try again before it has grown much."""
        at = await database.read(partial(_situation, namespace=namespace))
        if at is not None:
            self._hopeless[handle, at.ns] = at.count
            await self._stop(database, handle, at, followed=True)

    async def _stop(self, database: Database, handle: str, at: Situation, followed: bool) -> None:
        """Have no inverted file. followed: whether changes are noted down."""
        self._held.pop((handle, at.ns), None)
        self._files.remove(handle, at.ns)
        await self._note_for_others(database, handle, at, followed)

    async def _note_for_others(self, database: Database, handle: str, at: Situation, followed: bool) -> None:
        """Without an inverted file, changes are noted down for columns and vectors in memory, or for nobody."""
        key = handle, at.ns
        vectors = self._vectors.latest(key) if at.count >= FOLLOWED_FROM else None
        if vectors is None and not self._columns.follows(key):
            if followed:
                await database.write(partial(changes.stop, ns=at.ns))
        elif at.followed is None:
            await database.write(partial(changes.follow, ns=at.ns))
        else:
            needed = self._columns.oldest(key, at.version if vectors is None else vectors.version)
            if needed > at.followed + SETTLED_AFTER:
                await database.write(partial(changes.settle, ns=at.ns, version=needed))

    async def _build(self, database: Database, handle: str, at: Situation) -> Held | None:
        ns, spec = at.ns, at.spec
        if await database.write(partial(changes.follow, ns=ns)) is None:
            return None
        version = await database.read(partial(changes.version, ns=ns))
        chunks = await database.read(partial(vector_rows.chunks, ns=ns))
        builder = await self._compute(Builder, spec.metric, spec.dimension, at.count)
        wanted = -(-builder.sample // max(1, at.count // max(1, len(chunks))))
        some = np.sort(np.array(random.sample(chunks.tolist(), min(len(chunks), wanted)), dtype=np.int64))
        parts = [vectors async for _, vectors in self._parts(database, at, some)]
        await self._compute(builder.train, np.concatenate(parts))
        del parts
        async for rows, vectors in self._parts(database, at, chunks):
            await self._compute(builder.add, rows, vectors)
        file = await self._compute(builder.finish, version)
        if file is None:
            log.info("codes are too coarse for the vectors of namespace %s of %s; it is searched exactly", ns, handle)
            await self._stop(database, handle, at, followed=True)
            return None
        log.info(
            "namespace %s of %s is searched by an inverted file: %d vectors, %.0f MB, cells looked into %s",
            ns,
            handle,
            file.size,
            file.nbytes / 1e6,
            ", ".join(f"{each.cells} of {builder.cells} for {each.depth}" for each in file.calibration),
        )
        del builder
        await self._compute(ivf_index.give_back)
        held = Held(file, at.namespace, file.size)
        await self._save(database, handle, at, held)
        return held

    async def _parts(self, database: Database, at: Situation, chunks: Records) -> AsyncIterator[Part]:
        for start in range(0, len(chunks), CHUNKS_AT_ONCE):
            rows, vectors = await database.read(partial(_part, at=at, some=chunks[start : start + CHUNKS_AT_ONCE]))
            if len(rows):
                yield rows, vectors

    async def _catch_up(self, database: Database, held: Held, at: Situation) -> Held | None:
        """Take in what has changed; None if that is not known, or too much."""

        def now(connection: apsw.Connection) -> tuple[int, Records | None]:
            return changes.version(connection, at.ns), changes.since(connection, at.ns, held.file.version)

        version, changed = await database.read(now)
        if changed is None or len(changed) > MOST_CHANGED * held.size:
            return None
        for start in range(0, max(1, len(changed)), ROWS_AT_ONCE):
            some = changed[start : start + ROWS_AT_ONCE]
            last = start + ROWS_AT_ONCE >= len(changed)
            rows, vectors = await database.read(partial(_some, at=at, rows=some))
            await self._compute(held.file.replace, some, rows, vectors, version if last else held.file.version)
        held.unsaved += len(changed)
        return held

    async def _load(self, database: Database, handle: str, at: Situation) -> Held | None:
        """From the files beside the index's, if they are there and fit what the tables hold."""
        kept = self._files.note(handle, at.ns)
        fits = kept is not None and (kept.metric, kept.dimension) == (at.spec.metric, at.spec.dimension)
        if kept is None or not fits or at.followed is None or not at.followed <= kept.version <= at.version:
            return None

        def rows(connection: apsw.Connection) -> tuple[Records, Records | None]:
            return vector_rows.rows(connection, at.ns), changes.since(connection, at.ns, kept.version)

        alive, changed = await database.read(rows)
        try:
            file = await self._compute(self._files.load, handle, at.ns, kept, alive)
        except Exception as error:  # whatever the readers of damaged files raise
            log.warning("an inverted file of %s cannot be read, and is built anew: %s", handle, error)
            return None
        if changed is None or len(np.setdiff1d(np.setdiff1d(alive, changed), file.held_rows)):
            return None
        return Held(file, at.namespace, kept.size)

    async def _save(self, database: Database, handle: str, at: Situation, held: Held) -> None:
        spec = at.spec
        try:
            version = await self._compute(
                self._files.save, handle, at.ns, held.file, spec.metric, spec.dimension, held.size
            )
        except (OSError, RuntimeError) as error:
            log.warning("an inverted file of %s cannot be kept, and is built anew at the next start: %s", handle, error)
            return
        held.unsaved = 0
        needed = self._columns.oldest((handle, at.ns), version)
        await database.write(partial(changes.settle, ns=at.ns, version=needed))

    async def _compute(self, function: Callable[..., T], *arguments: Any) -> T:
        """On one thread, with one core: searches go on meanwhile."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(
                1, thread_name_prefix="inverted", initializer=ivf_index.use_threads, initargs=(1,)
            )
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _large_and_followed(connection: apsw.Connection, least: float | None) -> tuple[dict[int, str], set[int]]:
    """Numbers and names of the namespaces with so many records, and numbers of those whose changes are noted down."""
    rows: Any = connection.execute(
        "SELECT ns, name, record_count, followed FROM namespaces WHERE record_count >= ? OR followed IS NOT NULL",
        (1e18 if least is None else least,),
    ).fetchall()
    large = {ns: name for ns, name, count, _ in rows if least is not None and count >= least}
    return large, {ns for ns, _, _, followed in rows if followed is not None}


def _situation(connection: apsw.Connection, namespace: str) -> Situation | None:
    found: Any = connection.execute(
        "SELECT ns, record_count, version, followed FROM namespaces WHERE name = ?", (namespace,)
    ).get
    return None if found is None else Situation(tables.known_spec(connection), namespace, *found)


def _numbers(connection: apsw.Connection) -> set[int]:
    return {ns for (ns,) in connection.execute("SELECT ns FROM namespaces")}


def _part(connection: apsw.Connection, at: Situation, some: Records) -> Part:
    return vector_rows.read_chunks(_source(connection, at), some)


def _some(connection: apsw.Connection, at: Situation, rows: Records) -> Part:
    found = list(vector_rows.points(_source(connection, at), rows))
    if not found:
        return np.empty(0, np.int64), np.empty((0, at.spec.dimension), np.float32)
    return np.concatenate([some for some, _ in found]), np.concatenate([vectors for _, vectors in found])


def _source(connection: apsw.Connection, at: Situation) -> vector_rows.Source:
    return vector_rows.Source(connection, at.ns, at.spec.dimension, at.count, at.version, NOTHING_KEPT, "")


NOTHING_KEPT = VectorCache(0)
