"""The engine of imports: reads files, embeds what has to be embedded, and stores the rows in batches.

The next batch is read, and its texts are embedded, while the one before is being written.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from itertools import accumulate
from operator import attrgetter
from typing import Literal, Protocol

import msgspec

from pinyon.domain import Handle, Index, Note
from pinyon.errors import EmbeddingMismatch, InvalidArgument, TextTooLong, Unavailable
from pinyon.formats.rows import RowProblem
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.data_plane import validation
from pinyon.services.data_plane.records.text_upserts import EmbeddedRecords, TextUpserts, too_long
from pinyon.services.data_plane.vectors import Vectors
from pinyon.services.imports.row_checks import RowBatch, RowChecks
from pinyon.services.imports.sources import Source, SourceFile
from pinyon.services.imports.threads import on_thread
from pinyon.settings import LimitSettings
from pinyon.storage.engine import Engine

OnError = Literal["abort", "continue"]
LONGEST_WAIT_S = 10.0
"""How long to wait at most before a write is tried again, for example when the disk is full."""
LONGEST_PROBLEM = 2_000
"""Characters of the first problem that are remembered."""
ABANDONED_S = 5.0
"""How long a cancelled import waits for a read, for example of a slow web server."""


class Progress(msgspec.Struct, frozen=True):
    """How far an import is. file, row: the last row that is stored or was refused; size: of this file in bytes.

    imported, refused: rows. problem: the first row that was refused, in words. percent: 0..100.
    """

    file: str = ""
    row: int = 0
    size: int | None = None
    imported: int = 0
    refused: int = 0
    problem: str | None = None
    percent: float = 0.0


class RowRefused(InvalidArgument):
    """A row was refused, and the import stops at the first one."""


class Observer(Protocol):
    """Whoever wants to know how far an import is."""

    def note(self, progress: Progress) -> Note:
        """What is stored with the rows that bring the import so far."""
        ...

    def reached(self, progress: Progress) -> None:
        """Called when they are stored."""
        ...

    async def pauses(self, reason: str | None) -> None:
        """Called when nothing can be stored now, and why; with None when it goes on."""
        ...


class Importer:
    """Imports files into indexes. Call from the event-loop thread only."""

    def __init__(
        self,
        engine: Engine,
        indexes: Indexes,
        vectors: Vectors,
        upserts: TextUpserts,
        limits: LimitSettings,
    ) -> None:
        self._engine, self._indexes, self._upserts, self._limits = engine, indexes, upserts, limits
        # A batch is no larger than an upsert, so other writes wait no longer beside an import than beside upserts.
        self._checks = RowChecks(vectors, upserts, limits.upsert_bytes)

    async def run(
        self,
        handle: Handle,
        source: Source,
        files: Sequence[SourceFile],
        on_error: OnError,
        progress: Progress,
        observer: Observer,
    ) -> Progress:
        """Import the rows of these files that come after `progress`. Returns how far it came, which is the end.

        A batch is stored with its progress, or not at all. Raises InvalidArgument if a file cannot be read, or at the
        first wrong row if on_error is "abort": the batches before it are stored. Raises NotFound if the index is gone.
        """
        sizes = _Sizes(files)
        index = self._indexes.index(handle)
        storing: asyncio.Task[None] | None = None
        try:
            async with aclosing(self._read(index, source, files, progress)) as batches:
                async for batch in batches:
                    index = self._indexes.index(handle)
                    namespace = validation.namespace_name(batch.file.namespace, self._limits)
                    if batch.problems and on_error == "abort":
                        raise RowRefused(str(batch.problems[0]))
                    embedded = await self._embedded(index, namespace, batch, on_error, observer)
                    if storing is not None:
                        await storing
                    progress = _after(progress, batch, sizes)
                    storing = asyncio.create_task(self._store(index, namespace, batch, embedded, progress, observer))
            if storing is not None:
                await storing
        except asyncio.CancelledError:
            if storing is not None:
                storing.cancel()
                await asyncio.wait([storing])
            raise
        except Exception:
            if storing is not None:  # what was read before the wrong row
                await storing
            raise
        return progress

    async def _read(
        self, index: Index, source: Source, files: Sequence[SourceFile], progress: Progress
    ) -> AsyncGenerator[RowBatch, None]:
        """The batches after `progress`. While one is worked on, the next one is read."""
        batches = self._batches(index, source, files, progress)

        def following() -> asyncio.Future[RowBatch | None]:
            return on_thread(lambda: next(batches, None))

        reading = following()
        try:
            while (batch := await asyncio.shield(reading)) is not None:
                reading = following()
                yield batch
        finally:
            await asyncio.wait([reading], timeout=ABANDONED_S)
            if reading.done() and not reading.cancelled():
                reading.exception()  # nobody else asks for it
                batches.close()

    def _batches(
        self, index: Index, source: Source, files: Sequence[SourceFile], progress: Progress
    ) -> Generator[RowBatch, None, None]:
        for file in files:
            if file.name.encode() < progress.file.encode():
                continue
            skip = progress.row if file.name == progress.file else 0
            if skip and file.size != progress.size:
                raise InvalidArgument(
                    f"{file.name} has {file.size} bytes, and had {progress.size} when {skip} rows of it were imported; "
                    "files must not change meanwhile. Start a new import"
                )
            yield from self._checks.batches(index, source, file, skip)

    async def _embedded(
        self, index: Index, namespace: str, batch: RowBatch, on_error: OnError, observer: Observer
    ) -> EmbeddedRecords | None:
        """Embed the texts of a batch. Those that are too long for the model are taken out of it, and are problems."""
        while batch.texts:
            try:
                embedded = await self._upserts.embed(index, namespace, batch.texts)
                await observer.pauses(None)
                return embedded
            except TextTooLong as error:
                place = error.position
                message = too_long(error, batch.texts[place].id, text_field(index)).message
                problem = RowProblem(batch.file.name, batch.rows[place], message)
                if on_error == "abort":
                    raise RowRefused(str(problem)) from None
                batch.problems.append(problem)
                del batch.texts[place], batch.rows[place]
            except Unavailable as error:
                await _pause(error, observer)
        return None

    async def _store(
        self,
        index: Index,
        namespace: str,
        batch: RowBatch,
        embedded: EmbeddedRecords | None,
        progress: Progress,
        observer: Observer,
    ) -> None:
        """Store a batch with its progress, as soon as that is possible."""
        note = observer.note(progress)
        while True:
            write = asyncio.ensure_future(self._write(index, namespace, batch, embedded, note))
            try:
                await asyncio.shield(write)
            except asyncio.CancelledError:  # the writer is not to be stopped; what it has stored counts
                await asyncio.wait([write])
                if write.exception() is None:
                    observer.reached(progress)
                raise
            except Unavailable as error:
                await _pause(error, observer)
                continue
            observer.reached(progress)
            await observer.pauses(None)
            return

    async def _write(
        self, index: Index, namespace: str, batch: RowBatch, embedded: EmbeddedRecords | None, note: Note
    ) -> None:
        if embedded is None and not batch.records:
            await self._engine.put_note(index.handle, note)
        elif embedded is None:
            await self._engine.upsert(index.handle, namespace, batch.records, note=note)
        else:
            try:
                await self._upserts.store(index, namespace, embedded, note)
            except EmbeddingMismatch:  # the index was re-embedded since the texts were embedded

                async def again(index: Index) -> None:
                    embedded = await self._upserts.embed(index, namespace, batch.texts)
                    await self._upserts.store(index, namespace, embedded, note)

                await self._upserts.texts.repeat_if_reembedded(index, again)


class _Sizes:
    """How many bytes come before each file. files: all files, in their order."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        sizes = [file.size or 0 for file in files]
        self._before = dict(zip([file.name for file in files], accumulate(sizes, initial=0), strict=False))
        self._total = max(1, sum(sizes))

    def percent(self, file: SourceFile, share: float | None) -> float:
        """How much has been read when this share of a file has been."""
        return 100 * (self._before[file.name] + (share or 0) * (file.size or 0)) / self._total


def _after(progress: Progress, batch: RowBatch, sizes: _Sizes) -> Progress:
    """How far the import is when a batch is stored."""
    problem = progress.problem
    if problem is None and batch.problems:
        problem = str(min(batch.problems, key=attrgetter("row")))[:LONGEST_PROBLEM]
    return Progress(
        batch.file.name,
        batch.last,
        batch.file.size,
        progress.imported + len(batch.texts) + len(batch.records),
        progress.refused + len(batch.problems),
        problem,
        sizes.percent(batch.file, batch.share),
    )


def text_field(index: Index) -> str:
    """The field that an index embeds."""
    assert index.spec.embed is not None
    return index.spec.embed.text_field


async def _pause(error: Unavailable, observer: Observer) -> None:
    await observer.pauses(error.message)
    await asyncio.sleep(min(error.retry_after_s, LONGEST_WAIT_S))
