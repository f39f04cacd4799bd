"""Writes the records of one moment of an index to files.

OUT.partial/         the files that are complete, and one that is being written
OUT.export.json      which files are complete, and which backup they are read from
OUT                  a file or a folder; it is there when everything is in it
"""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import msgspec

from pinyon.cli.transfer.exports.backup_reader import BackupReader
from pinyon.cli.transfer.exports.state import Part, Plan, State, StateFile
from pinyon.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PinyonError, Unavailable
from pinyon.files import put_in_place, sync
from pinyon.formats import files
from pinyon.formats.folders import folder_of
from pinyon.formats.rows import Row

PAGE = 1_000
"""Records of a request."""


class VectorColumns(msgspec.Struct, frozen=True):
    """Which vectors the files have: values, sparse values, both, or none."""

    values: bool
    sparse: bool


Tell = Callable[[int, int | None], None]
"""Is told how many records are written, and of how many; None if that is not known."""


class ExportJob:
    """One export. out: the file or folder. columns: which vectors the records have. Methods raise PinyonError."""

    def __init__(self, reader: BackupReader, plan: Plan, out: Path, columns: VectorColumns, tell: Tell) -> None:
        self._reader, self._plan, self._out, self._columns, self._tell = reader, plan, out, columns, tell
        self._partial, self._file = out.with_name(f"{out.name}.partial"), StateFile(out)

    async def run(self, resume: bool) -> State:
        """Export everything. Returns what was written. resume: go on with an interrupted export, if there is one.

        Raises AlreadyExists if the result or an interrupted export is there.
        """
        try:
            state = self._interrupted() if resume and self._file.exists() else self._begin()
            try:
                if not state.backup:
                    state.backup, state.moment = await self._reader.take(self._plan.index, state.name)
                    self._file.write(state)
                if not self._out.exists():  # otherwise the last run was interrupted at its very end
                    await self._write_parts(state)
                    self._put_in_place(state)
            except PinyonError as error:
                if not state.parts and not isinstance(error, Unavailable):  # there is nothing to go on with
                    await self._end(state)
                raise
            await self._end(state)
        except OSError as error:
            raise FailedPrecondition(f"{self._out} cannot be written: {error.strerror or error}") from error
        return state

    def _begin(self) -> State:
        """The state of a new export. Raises AlreadyExists if something is there."""
        if self._file.exists():
            raise AlreadyExists(
                f"An export to {self._out} was interrupted; go on with --resume, or delete {self._file.path}, "
                f"{self._partial} and the backup named '{self._file.read().name}'"
            )
        if self._out.exists():
            raise AlreadyExists(f"{self._out} is there already; name another file or folder")
        shutil.rmtree(self._partial, ignore_errors=True)  # of an export that was killed as it began
        self._partial.mkdir(parents=True)
        state = State(self._plan, f"pinyon export {uuid4()}")  # who lists backups sees what it is for
        self._file.write(state)
        return state

    async def _end(self, state: State) -> None:
        """Delete everything but the result."""
        if state.backup:
            await self._reader.delete(state.backup)
        shutil.rmtree(self._partial, ignore_errors=True)
        self._file.remove()

    def _interrupted(self) -> State:
        """The state of an interrupted export. Raises InvalidArgument if it was one of something else."""
        state = self._file.read()
        mine, other = (msgspec.structs.asdict(plan) for plan in (self._plan, state.plan))
        if different := [name for name in mine if mine[name] != other[name]]:
            name = different[0]
            raise FailedPrecondition(
                f"The interrupted export to {self._out} had another {name}: {other[name]}, not {mine[name]}; with "
                "--resume, give the same options again"
            )
        return state

    async def _write_parts(self, state: State) -> None:
        try:
            namespaces = await self._reader.namespaces(state.backup)
        except NotFound:
            raise FailedPrecondition(
                f"The backup {state.backup}, which the interrupted export reads, is gone; delete {self._file.path} and "
                f"{self._partial}, if they are there, and begin again"
            ) from None
        wanted = self._wanted(namespaces)
        total = sum(namespaces[name] for name in wanted) if self._plan.filter is None else None
        self._tell(state.records, total)
        for number, namespace in enumerate(wanted):
            last = state.last(namespace)
            if last is None or last.token is not None:
                folder = str(number) if self._plan.single else folder_of(namespace)
                await self._write_namespace(state, namespace, folder, None if last is None else last.token, total)

    def _wanted(self, namespaces: dict[str, int]) -> list[str]:
        """The namespaces to export. Raises NotFound, or InvalidArgument if there are several and one file for them."""
        plan, known = self._plan, ", ".join(namespaces) or "none"
        if plan.namespace is not None:
            if plan.namespace not in namespaces:
                raise NotFound(f"Index {plan.index} has no namespace '{plan.namespace}'; it has: {known}")
            return [plan.namespace]
        if plan.single and len(namespaces) > 1:
            raise InvalidArgument(
                f"Index {plan.index} has several namespaces, and one file does not say which record is in which. "
                f"Choose one with --namespace, or name a folder. The namespaces are: {known}"
            )
        return list(namespaces)

    async def _write_namespace(
        self, state: State, namespace: str, folder: str, token: str | None, total: int | None
    ) -> None:
        """Write the rest of a namespace. token: where it begins; None for the first record."""
        plan = self._plan
        condition = None if plan.filter is None else msgspec.json.decode(plan.filter)
        pages = self._reader.pages(state.backup, namespace, condition, plan.vectors, token, min(plan.part, PAGE))
        more = True
        while more:
            number = sum(part.namespace == namespace for part in state.parts)
            path = self._partial / folder / f"part-{number:05}.{plan.format}"
            path.parent.mkdir(parents=True, exist_ok=True)
            records, token = await self._write_part(path, pages, lambda n: self._tell(state.records + n, total))
            sync(path)
            sync(path.parent)
            state.parts.append(Part(f"{folder}/{path.name}", namespace, records, token))
            self._file.write(state)
            more = token is not None

    async def _write_part(
        self, path: Path, pages: AsyncIterator[tuple[list[Row], str | None]], tell: Callable[[int], None]
    ) -> tuple[int, str | None]:
        """Write a file. Returns how many records it has, and where the next one begins."""
        records, token = 0, None
        with path.open("wb") as stream, closing(self._writer(stream)) as writer:
            async for rows, following in pages:
                self._check(rows)
                writer.write(rows)
                records, token = records + len(rows), following
                tell(records)
                if records >= self._plan.part:
                    break
        return records, token

    def _writer(self, stream: BinaryIO) -> files.RowWriter:
        return files.writer(stream, self._plan.format, self._columns.values, self._columns.sparse)

    def _check(self, rows: list[Row]) -> None:
        """Raises FailedPrecondition if a record has sparse values that the Parquet file has no column for."""
        if self._plan.format == "parquet" and not self._columns.sparse:
            for row in rows:
                if row.sparse is not None:
                    raise FailedPrecondition(
                        f"Record '{row.id}' has sparse values, though its index does not search by them. Pinecone's "
                        "layout of Parquet files has no column for them in such an index; export to JSON lines"
                    )

    def _put_in_place(self, state: State) -> None:
        """Make the result of its parts, as a whole."""
        if not self._plan.single:
            sync(self._partial)
            self._partial.rename(self._out)
            sync(self._out.parent)
            return
        parts = [self._partial / part.file for part in state.parts]
        if len(parts) == 1:
            put_in_place(parts[0], self._out)
            return
        joined = self._partial / "joined"
        with joined.open("wb") as stream, closing(self._writer(stream)) as writer:
            for part in parts:
                with part.open("rb") as rows:
                    for batch in files.batches(rows, part.name, self._plan.format):
                        writer.write(batch.rows)
        put_in_place(joined, self._out)
