"""Decides when the upkeep of which namespace runs, beside everything else, one namespace at a time.

Upkeep is whatever follows the writes: the inverted file, the columns and the change log of a namespace. It works on
nothing that an answer depends on, so a failure costs speed only.
"""

import asyncio
import contextlib
import logging
import math
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from pinyon.domain import Handle
from pinyon.errors import NotFound, PinyonError
from pinyon.storage.shared.posting_cache import PostingCache
from pinyon.storage.sqlite.connection.database import Database
from pinyon.storage.sqlite.filters.column_store import ColumnStore
from pinyon.storage.sqlite.filters.filter_cache import FilterCache
from pinyon.storage.sqlite.ivf.ivf_index import IvfIndex
from pinyon.storage.sqlite.options import EngineOptions
from pinyon.storage.sqlite.schema import changes
from pinyon.storage.sqlite.upkeep.background_thread import BackgroundThread
from pinyon.storage.sqlite.upkeep.change_log_upkeep import ChangeLogUpkeep
from pinyon.storage.sqlite.upkeep.column_upkeep import ColumnUpkeep
from pinyon.storage.sqlite.upkeep.ivf_upkeep import IvfUpkeep
from pinyon.storage.sqlite.upkeep.namespace_state import read_state
from pinyon.storage.sqlite.upkeep.write_debounce import Pending, WriteDebounce
from pinyon.storage.sqlite.vectors.vector_cache import VectorCache

log = logging.getLogger("pinyon.storage")


class UpkeepScheduler:
    """The upkeep of all indexes of a folder. Call from the event-loop thread only, except for inverted_file().

    With the option read_only nothing may be written, so there is no upkeep.
    """

    def __init__(
        self,
        folder: Path,
        options: EngineOptions,
        columns: ColumnStore,
        vectors: VectorCache,
        filters: FilterCache,
        postings: PostingCache,
    ) -> None:
        self._read_only, tuning = options.read_only, options.tuning
        from_records = math.inf if options.approximate_from is None else options.approximate_from
        self._thread = BackgroundThread()
        self.ivf = IvfUpkeep(folder, from_records, self._thread, tuning)
        self.columns = ColumnUpkeep(columns, self._thread, tuning)
        self._change_log = ChangeLogUpkeep(vectors, tuning)
        self._caches = columns, vectors, filters, postings
        self._debounce = WriteDebounce(tuning.quiet_s, tuning.patience_s)
        self._waiting: dict[tuple[Handle, str], Database] = {}
        self._with_deleted: set[Handle] = set()
        self._called = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._current_handle: Handle | None = None

    def inverted_file(self, handle: Handle, ns: int) -> IvfIndex | None:
        """The inverted file that answers for a namespace. May be called from any thread."""
        return self.ivf.get(handle, ns)

    def distrust(self, database: Database, handle: Handle, namespace: str) -> None:
        """Answer exactly from now on, because approximate answers miss too many; build another inverted file."""
        self.ivf.distrust(handle, namespace)
        self.schedule(database, handle, namespace)

    def schedule(self, database: Database, handle: Handle, namespace: str) -> None:
        """Have the upkeep of a namespace run soon: it was written to, or its index was opened."""
        if self._read_only or database.closed:
            return
        self._waiting[handle, namespace] = database
        self._called.set()
        self._start()

    def namespace_deleted(self, database: Database, handle: Handle, namespace: str) -> None:
        """Free soon what a deleted namespace had in memory and in files."""
        self._with_deleted.add(handle)
        self.schedule(database, handle, namespace)

    async def open(self, database: Database, handle: Handle) -> None:
        """Schedule every large namespace of an index. Remove the files and change logs of the others."""
        large, logged = await database.read(partial(_large_and_logged, least=self.ivf.least_records))
        for ns in logged - large.keys():
            await database.write(partial(changes.stop, ns=ns))
        await self.ivf.remove_other_files(handle, set(large))
        for name in large.values():
            self.schedule(database, handle, name)

    async def idle(self) -> None:
        """Wait until nothing is scheduled any more."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def release(self, handle: Handle) -> None:
        """Free everything of an index that is to be deleted or was changed as a whole.

        Nothing touches its files after this.
        """
        self._debounce.release(handle)
        self._with_deleted.discard(handle)
        if self._current_handle == handle:
            await self._interrupt()
        self._waiting = {place: database for place, database in self._waiting.items() if place[0] != handle}
        self.ivf.release(handle)
        for cache in self._caches:
            cache.keep_only(handle)
        self._start()

    async def close(self) -> None:
        """Stop. The next start catches up with what is not saved."""
        self._waiting.clear()
        self._debounce.release()
        await self._interrupt()
        self._thread.close()

    def _start(self) -> None:
        if (self._waiting or self._debounce) and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._work())

    async def _interrupt(self) -> None:
        """Stop the upkeep that runs now. Its namespace is scheduled again."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._thread.wait()

    async def _work(self) -> None:
        while self._waiting or self._debounce:
            self._waiting |= self._debounce.due()
            if not self._waiting:
                await self._wait_for_work(self._debounce.wait_s())
                continue
            handle, namespace = next(iter(self._waiting))
            database = self._waiting.pop((handle, namespace))
            pending = self._debounce.take((handle, namespace))
            self._current_handle = handle
            try:
                await self._maintain(database, handle, namespace, pending)
            except asyncio.CancelledError:
                self._waiting[handle, namespace] = database
                raise
            except NotFound:  # the index was deleted meanwhile
                continue
            except Exception as error:
                # A damaged file, for one, is a known error: its message says everything, and a traceback nothing more.
                defect = None if isinstance(error, PinyonError) else error
                log.error("no inverted file for namespace %r of %s: %s", namespace, handle, error, exc_info=defect)
                with contextlib.suppress(Exception):
                    await self._give_up(database, handle, namespace)
            finally:
                self._current_handle = None

    async def _wait_for_work(self, seconds: float) -> None:
        """Wait so long, or until a namespace is scheduled."""
        self._called.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._called.wait()

    async def _maintain(self, database: Database, handle: Handle, namespace: str, pending: Pending | None) -> None:
        """Run the upkeep of one namespace. pending: since when it waits for quiet."""
        if handle in self._with_deleted:
            self._with_deleted.discard(handle)
            await self._free_deleted(database, handle)
        state = await read_state(database, handle, namespace)
        if state is None or state.spec.sparse:
            return
        place, version = (handle, namespace), state.version
        await self.columns.maintain(database, state)
        is_quiet = partial(self._debounce.is_quiet, place, pending, database, version, state.count)
        if await self.ivf.maintain(database, state, is_quiet):
            self._waiting[place] = database
            return
        await self._change_log.maintain(database, state, self.ivf.needed_from(state), self.columns.needed_from(state))

    async def _free_deleted(self, database: Database, handle: Handle) -> None:
        namespaces = await database.read(_namespace_numbers)
        await self.ivf.keep_only(handle, namespaces)
        for cache in self._caches:
            cache.keep_only(handle, namespaces)

    async def _give_up(self, database: Database, handle: Handle, namespace: str) -> None:
        """Search the namespace exactly after a failure."""
        state = await read_state(database, handle, namespace)
        if state is not None:
            await self.ivf.give_up(state)
            await self._change_log.maintain(database, state, None, self.columns.needed_from(state))


def _large_and_logged(connection: apsw.Connection, least: float) -> tuple[dict[int, str], set[int]]:
    """Numbers and names of the namespaces with so many records, and numbers of those whose changes are logged."""
    rows: Any = connection.execute(
        "SELECT ns, name, record_count, followed FROM namespaces WHERE record_count >= ? OR followed IS NOT NULL",
        (least,),
    ).fetchall()
    large = {ns: name for ns, name, count, _ in rows if count >= least}
    return large, {ns for ns, _, _, logged_from in rows if logged_from is not None}


def _namespace_numbers(connection: apsw.Connection) -> set[int]:
    return {ns for (ns,) in connection.execute("SELECT ns FROM namespaces")}
