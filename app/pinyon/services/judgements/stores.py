"""Where judgements are stored: in the data folder, or in a file that several processes share."""

import asyncio
from pathlib import Path
from typing import Protocol

import msgspec

from pinyon import decoding
from pinyon.errors import FailedPrecondition, InvalidArgument
from pinyon.formats.folders import folder_of, namespace_of
from pinyon.services.judgements import files
from pinyon.services.judgements.files import JudgedQuery
from pinyon.shared_files import SharedFiles

Queries = dict[str, JudgedQuery]


class JudgementStore(Protocol):
    """The judged queries of each namespace, by their ids."""

    async def read(self, index: str, namespace: str) -> tuple[Queries, int]:
        """The queries, oldest first, and the version of the whole. Raises InvalidArgument if it is damaged."""
        ...

    async def namespaces(self, index: str) -> list[str]:
        """The namespaces of an index that have judgements, sorted."""
        ...

    async def write(self, index: str, namespace: str, queries: Queries, version: int) -> None:
        """Replace the queries of this version.

        Raises VersionConflict if there is a newer one, InvalidArgument if the name of the namespace is too long, and
        FailedPrecondition if nothing can be written.
        """
        ...


class FolderJudgements:
    """A JudgementStore in the data folder of the only process that has it. Versions are not counted."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    async def read(self, index: str, namespace: str) -> tuple[Queries, int]:
        folder = files.folder(self._data_dir, index, namespace)
        return ({} if folder is None else await asyncio.to_thread(files.read, folder)), 0

    async def namespaces(self, index: str) -> list[str]:
        return await asyncio.to_thread(files.namespaces, self._data_dir, index)

    async def write(self, index: str, namespace: str, queries: Queries, version: int) -> None:
        folder = files.folder(self._data_dir, index, namespace)
        if folder is None:
            raise _too_long(namespace)
        try:
            await asyncio.to_thread(files.write, folder, queries)
        except OSError as error:
            raise FailedPrecondition(f"The judgement cannot be stored in {folder}: {error.strerror}") from error


class SharedJudgements:
    """A JudgementStore in shared files: one for each namespace, a JSON list of its queries."""

    def __init__(self, shared: SharedFiles) -> None:
        self._files = shared

    async def read(self, index: str, namespace: str) -> tuple[Queries, int]:
        path = _path(index, namespace)
        file = None if path is None else await self._files.read(path)
        if file is None:
            return {}, 0
        try:
            queries = decoding.decode(file.content, list[JudgedQuery])
        except msgspec.MsgspecError as error:
            raise InvalidArgument(f"The judgements of {index} in the database cannot be read: {error}") from error
        return {query.id: query for query in queries}, file.version

    async def namespaces(self, index: str) -> list[str]:
        paths = await self._files.paths(f"judgements/{index}/")
        return sorted(namespace_of(path.rpartition("/")[2].removesuffix(".json")) for path in paths)

    async def write(self, index: str, namespace: str, queries: Queries, version: int) -> None:
        path = _path(index, namespace)
        if path is None:
            raise _too_long(namespace)
        await self._files.write(path, msgspec.json.encode(list(queries.values())), version)


def _path(index: str, namespace: str) -> str | None:
    """The path of the file of a namespace. None if its name is too long."""
    try:
        return f"judgements/{index}/{folder_of(namespace)}.json"
    except InvalidArgument:
        return None


def _too_long(namespace: str) -> InvalidArgument:
    return InvalidArgument(f"The name of the namespace '{namespace[:80]}...' is too long for a folder of judgements")
