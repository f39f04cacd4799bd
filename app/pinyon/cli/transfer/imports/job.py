"""Reads files and sends their rows, several requests at the same time."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec

from pinyon.cli.transfer.imports.files import ImportFile
from pinyon.cli.transfer.imports.requests import Request, Target, requests
from pinyon.cli.transfer.imports.row_sender import Sender
from pinyon.cli.transfer.imports.state import ImportState
from pinyon.errors import InvalidArgument
from pinyon.formats import files
from pinyon.formats.layout import Columns
from pinyon.formats.rows import Batch, RowProblem

IN_FLIGHT = 4
"""Requests that the server may be answering at the same time: it decodes one, embeds another, and stores a third."""


class _Sent(msgspec.Struct):
    """A request that is being answered. It has these ids."""

    task: "asyncio.Task[list[RowProblem]]"
    ids: set[str]
    rows: int


class _Reached(msgspec.Struct):
    """When everything before it is done, a file is done up to this row. share: of the file, 0..1, or None."""

    file: ImportFile
    row: int
    share: float | None


class ImportJob:
    """One import. refuse: is told each row that is refused. reached: is told whenever more rows are done.

    reached() gets the share of all bytes that is done, 0..1; None if it is not known. The state has how far it is.
    """

    def __init__(
        self,
        sender: Sender,
        target: Target,
        state: ImportState,
        refuse: Callable[[RowProblem], None],
        reached: Callable[[float | None], None],
    ) -> None:
        self._sender, self._target, self._state = sender, target, state
        self._refuse, self._tell = refuse, reached
        self._waiting: deque[_Sent | _Reached] = deque()

    async def run(self, inputs: Sequence[tuple[ImportFile, Columns]]) -> None:
        """Import these files. Rows that the state says are done are left out.

        Raises InvalidArgument if a file cannot be read; what was read before is imported.
        """
        sizes = [file.size for file, _ in inputs]
        total = None if None in sizes else sum(filter(None, sizes))
        before = 0
        try:
            for file, columns in inputs:
                await self._import(file, columns, before, total)
                before += file.size or 0
        except InvalidArgument:  # the file cannot be read beyond some row
            await self._drain(0)
            raise
        finally:
            tasks = [waiting.task for waiting in self._waiting if isinstance(waiting, _Sent)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _import(self, file: ImportFile, columns: Columns, before: int, total: int | None) -> None:
        """before: bytes of the files before this one. total: bytes of all files; None if they are not known."""
        with file.open() as stream:
            batches = files.batches(stream, file.name, file.format, columns, self._state.row(file))
            while (batch := await asyncio.to_thread(_next, batches)) is not None:
                for problem in batch.problems:
                    self._refused(problem)
                for request in requests(self._target, file.name, file.namespace, batch.rows):
                    if isinstance(request, RowProblem):
                        self._refused(request)
                    else:
                        await self._submit(request)
                share = None
                if total and batch.share is not None and file.size is not None:
                    share = (before + batch.share * file.size) / total
                self._waiting.append(_Reached(file, batch.last, share))
        await self._drain(0)

    async def _submit(self, request: Request) -> None:
        """Send a request as soon as there is room. One that has an id of a request before it waits for that."""
        ids = {row.id for row in request.rows}
        await self._drain(IN_FLIGHT - 1)
        if any(not ids.isdisjoint(sent.ids) for sent in self._waiting if isinstance(sent, _Sent)):
            await self._drain(0)
        task = asyncio.create_task(self._sender.send(request))
        self._waiting.append(_Sent(task, ids, len(request.rows)))

    async def _drain(self, most: int) -> None:
        """Wait until at most so many requests are being answered, oldest first, and note what that brings."""
        while sum(isinstance(waiting, _Sent) for waiting in self._waiting) > most or (
            self._waiting and isinstance(self._waiting[0], _Reached)
        ):
            first = self._waiting[0]
            if isinstance(first, _Sent):
                problems = await first.task
                self._state.imported += first.rows - len(problems)
                for problem in problems:
                    self._refused(problem)
            else:
                self._state.reached(first.file, first.row)
                self._tell(first.share)
            self._waiting.popleft()

    def _refused(self, problem: RowProblem) -> None:
        self._state.refused += 1
        self._refuse(problem)


def _next(batches: Iterator[Batch]) -> Batch | None:
    return next(batches, None)
