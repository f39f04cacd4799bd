"""Builds the inverted files of large namespaces, and brings them up to date.

The tables are the truth: without an inverted file, queries are answered exactly. An inverted file is built from the
tables in short reads. It follows the writes by the change log, and is saved in two files beside the index's file, so
that the next start only has to catch up.
"""

import logging
import random
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from pathlib import Path

import apsw
import msgspec
import numpy as np

from pinyon import metrics, native_packages
from pinyon.domain import Handle
from pinyon.storage.shared.row_sets import Records, Vectors
from pinyon.storage.sqlite.connection.database import Database
from pinyon.storage.sqlite.ivf import ivf_index
from pinyon.storage.sqlite.ivf.ivf_files import IvfFiles
from pinyon.storage.sqlite.ivf.ivf_index import Builder, IvfIndex
from pinyon.storage.sqlite.options import Tuning
from pinyon.storage.sqlite.schema import changes
from pinyon.storage.sqlite.upkeep.background_thread import BackgroundThread
from pinyon.storage.sqlite.upkeep.namespace_state import NamespaceState, log_changes
from pinyon.storage.sqlite.vectors import vector_rows
from pinyon.storage.sqlite.vectors.vector_cache import Key

CHUNKS_AT_ONCE, ROWS_AT_ONCE = 64, 4_096
"""Chunks and rows per read. Short reads keep other reads from waiting."""
KEEP_SHARE = 0.5
"""A namespace keeps its inverted file until it has less than this share of the records that it needs to get one."""
MOST_STALE, MOST_GROWN, MOST_CHANGED, MOST_BADLY_CODED = 0.3, 2.0, 0.3, 0.03
"""When to build again: the share of entries of deleted or changed rows, the growth since it was built, the share of
rows that changed since the last look, and the share of later rows that the codes represent badly."""
SAVE_AFTER = 0.1
"""Share of the rows that may change before the inverted file is saved again."""

log = logging.getLogger("pinyon.storage")


class Entry(msgspec.Struct):
    """An inverted file in use. size: its vectors when it was built. unsaved: rows that changed since it was saved.

    saved: the version in the files on disk; None: there are none. distrusted: its answers were found to miss too many,
    perhaps while it was caught up. It answers no more queries.
    """

    file: IvfIndex
    namespace: str
    size: int
    saved: int | None = None
    unsaved: int = 0
    distrusted: bool = False


class History(msgspec.Struct):
    """What was learnt about a namespace: its number of records when no inverted file could be built or trusted.

    given_up_at: no new one is built before the namespace has grown well beyond this. distrusted_at: size of the last
    one that was distrusted.
    """

    given_up_at: int = 0
    distrusted_at: int = 0


class IvfUpkeep:
    """The inverted files of all indexes of a folder.

    from_records: records of a namespace from which on it gets one; infinity: never. Call from the event-loop thread
    only, except for get().
    """

    def __init__(self, folder: Path, from_records: float, thread: BackgroundThread, tuning: Tuning) -> None:
        self._files, self._from, self._thread, self._tuning = IvfFiles(folder), from_records, thread, tuning
        self.entries: dict[Key, Entry] = {}
        self._histories: dict[Key, History] = {}
        self._faiss_runs: bool | None = None

    @property
    def least_records(self) -> float:
        """Records under which no namespace has an inverted file."""
        return self._from * KEEP_SHARE

    def get(self, handle: Handle, ns: int) -> IvfIndex | None:
        """The inverted file that answers for a namespace."""
        entry = self.entries.get((handle, ns))
        return None if entry is None or entry.distrusted else entry.file

    def needed_from(self, state: NamespaceState) -> int | None:
        """The version from which on the inverted file needs the logged changes; None if there is none.

        The next start reads what was saved, so this is the saved version.
        """
        entry = self.entries.get(state.key)
        if entry is None:
            return None
        return entry.file.version if entry.saved is None else entry.saved

    def distrust(self, handle: Handle, namespace: str) -> None:
        """Let an inverted file answer no more queries, because its answers miss too many.

        maintain() builds another one. If that was done before, and the namespace has hardly grown, it stays exact.
        """
        for key, entry in self.entries.items():
            if (key[0], entry.namespace) != (handle, namespace) or entry.distrusted:
                continue
            log.warning("answers for namespace %s of %s miss too many; it is searched exactly now", key[1], handle)
            metrics.became_exact()
            entry.distrusted = True
            history = self._history(key)
            if entry.size < MOST_GROWN * history.distrusted_at:
                history.given_up_at = entry.size
            history.distrusted_at = entry.size

    async def maintain(self, database: Database, state: NamespaceState, is_quiet: Callable[[], bool]) -> bool:
        """Bring the inverted file of a namespace up to date, or build or remove it.

        is_quiet: tells whether nobody is loading records; asked before building. Returns whether to do all this again
        soon, because much was written meanwhile.
        """
        if state.count < self.least_records:
            if state.key in self.entries:
                await self.remove(state.key)
            return False
        if self._faiss_runs is None:
            self._faiss_runs = await self._thread.run(_prepare_faiss)
        if not self._faiss_runs:
            return False
        entry = await self._current(database, state)
        if entry is None or self._worn_out(entry, state):
            if not self._may_build(state) or not is_quiet():
                if entry is None:
                    await self.remove(state.key)
                return False
            built = await self._build(database, state)
            if built is None:
                self._history(state.key).given_up_at = state.count
                await self.remove(state.key)
                return False
            entry = await self._caught_up(database, state, built)
            if entry is None:
                return True
        self.entries[state.key] = entry
        if entry.unsaved > SAVE_AFTER * entry.size:
            await self._save(state, entry)
        return False

    async def give_up(self, state: NamespaceState) -> None:
        """Search the namespace exactly, and build no inverted file before it has grown much."""
        self._history(state.key).given_up_at = state.count
        await self.remove(state.key)

    async def remove(self, key: Key) -> None:
        """Remove the inverted file of a namespace, and its files."""
        self.entries.pop(key, None)
        await self._thread.run(self._files.remove, *key)

    async def keep_only(self, handle: Handle, namespaces: Collection[int]) -> None:
        """Free everything of an index and remove its files, except for the namespaces with these numbers."""
        for key in self._known(handle):
            if key[1] not in namespaces:
                self._histories.pop(key, None)
                await self.remove(key)

    async def remove_other_files(self, handle: Handle, large: set[int]) -> None:
        """Remove the files of an index whose namespaces are not among these numbers."""
        await self._thread.run(self._files.remove_others, handle, large)

    def release(self, handle: Handle) -> None:
        """Free everything of an index. Its files stay."""
        for key in self._known(handle):
            self.entries.pop(key, None)
            self._histories.pop(key, None)

    def _known(self, handle: Handle) -> list[Key]:
        return [key for key in {*self.entries, *self._histories} if key[0] == handle]

    def _history(self, key: Key) -> History:
        return self._histories.setdefault(key, History())

    def _worn_out(self, entry: Entry, state: NamespaceState) -> bool:
        file = entry.file
        return file.stale > MOST_STALE or file.badly_coded > MOST_BADLY_CODED or state.count > MOST_GROWN * entry.size

    def _may_build(self, state: NamespaceState) -> bool:
        history = self._histories.get(state.key, History())
        return state.count >= max(self._from, MOST_GROWN * history.given_up_at)

    async def _current(self, database: Database, state: NamespaceState) -> Entry | None:
        """The inverted file in use or else on disk, brought up to date; None if there is none that can be."""
        entry = self.entries.get(state.key)
        if entry is not None and entry.distrusted:
            await self.remove(state.key)
            return None
        if entry is not None and (state.logged_from is None or entry.file.version < state.logged_from):
            del self.entries[state.key]
            entry = None
        if entry is None:
            entry = await self._load(database, state)
        if entry is not None and entry.file.version < state.version:
            entry = await self._caught_up(database, state, entry)
        if entry is None or entry.distrusted:
            return None
        self.entries[state.key] = entry
        return entry

    async def _build(self, database: Database, state: NamespaceState) -> Entry | None:
        """Build and save an inverted file; None if the codes are too coarse, or the namespace is gone."""
        ns, spec, run = state.ns, state.spec, self._thread.run
        if not await log_changes(database, state):
            return None
        version = await database.read(partial(changes.version, ns=ns))
        chunks = await database.read(partial(vector_rows.chunk_ids, ns=ns))
        builder = await run(Builder, spec.metric, spec.dimension, state.count, self._tuning)
        enough = -(-builder.sample // max(1, state.count // max(1, len(chunks))))
        some = np.sort(np.array(random.sample(chunks.tolist(), min(len(chunks), enough)), dtype=np.int64))
        samples = [vectors async for _, vectors in self._chunks(database, state, some)]
        await run(builder.train, np.concatenate(samples))
        del samples
        async for rows, vectors in self._chunks(database, state, chunks):
            await run(builder.add, rows, vectors)
        file, cells = await run(builder.finish, version), builder.cells
        del builder
        await run(ivf_index.trim_memory)
        if file is None:
            log.info(
                "codes are too coarse for the vectors of namespace %s of %s; it is searched exactly", ns, state.key[0]
            )
            return None
        log.info(
            "namespace %s of %s is searched by an inverted file: %d vectors, %.0f MB, cells looked into %s",
            ns,
            state.key[0],
            file.size,
            file.nbytes / 1e6,
            ", ".join(f"{each.nprobe} of {cells} for {each.k}" for each in file.calibration),
        )
        entry = Entry(file, state.name, file.size)
        await self._save(state, entry)
        return entry

    async def _chunks(
        self, database: Database, state: NamespaceState, chunks: Records
    ) -> AsyncIterator[tuple[Records, Vectors]]:
        """The rows of these chunks and their vectors, some chunks per read."""
        for start in range(0, len(chunks), CHUNKS_AT_ONCE):
            some = chunks[start : start + CHUNKS_AT_ONCE]
            rows, vectors = await database.read(
                partial(vector_rows.read_chunks, ns=state.ns, dimension=state.spec.dimension, chunks=some)
            )
            if len(rows):
                yield rows, vectors

    async def _caught_up(self, database: Database, state: NamespaceState, entry: Entry) -> Entry | None:
        """The same entry once it has taken in what changed; None if that is not known, or too much."""

        def read_changes(connection: apsw.Connection) -> tuple[int, Records | None]:
            return changes.version(connection, state.ns), changes.since(connection, state.ns, entry.file.version)

        version, changed = await database.read(read_changes)
        if changed is None or len(changed) > MOST_CHANGED * entry.size:
            return None
        for start in range(0, max(1, len(changed)), ROWS_AT_ONCE):
            some = changed[start : start + ROWS_AT_ONCE]
            is_last = start + ROWS_AT_ONCE >= len(changed)
            rows, vectors = await database.read(
                partial(vector_rows.read_rows, ns=state.ns, dimension=state.spec.dimension, rows=some)
            )
            await self._thread.run(entry.file.replace, some, rows, vectors, version if is_last else entry.file.version)
        entry.unsaved += len(changed)
        return entry

    async def _load(self, database: Database, state: NamespaceState) -> Entry | None:
        """Read the files on disk; None if they are missing or damaged, or cannot be brought up to date."""
        note = None if state.logged_from is None else self._files.note(*state.key)
        if note is None or (note.metric, note.dimension) != (state.spec.metric, state.spec.dimension):
            return None
        if state.logged_from is None or not state.logged_from <= note.version <= state.version:
            return None

        def read(connection: apsw.Connection) -> tuple[Records, Records | None]:
            return (
                vector_rows.row_numbers(connection, state.ns),
                changes.since(connection, state.ns, note.version),
            )

        alive, changed = await database.read(read)
        try:
            file = await self._thread.run(self._files.load, *state.key, note, alive)
        except Exception as error:  # the readers of damaged files raise many kinds
            log.warning("an inverted file of %s cannot be read, and is built again: %s", state.key[0], error)
            return None
        if changed is None or len(np.setdiff1d(np.setdiff1d(alive, changed), file.rows)):
            return None
        return Entry(file, state.name, note.size, saved=note.version)

    async def _save(self, state: NamespaceState, entry: Entry) -> None:
        spec = state.spec
        try:
            entry.saved = await self._thread.run(
                self._files.save, *state.key, entry.file, spec.metric, spec.dimension, entry.size
            )
        except (OSError, RuntimeError) as error:
            log.warning(
                "an inverted file of %s cannot be saved, and is built again at the next start: %s", state.key[0], error
            )
            return
        entry.unsaved = 0


def _prepare_faiss() -> bool:
    """Whether Faiss runs here. If so, it uses one core in this thread, so that searches go on meanwhile."""
    if not native_packages.usable("faiss"):
        return False
    ivf_index.use_threads(1)
    return True
