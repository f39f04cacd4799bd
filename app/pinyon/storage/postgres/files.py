"""Small files of the services, in a table of the catalogue."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from pinyon.errors import VersionConflict
from pinyon.shared_files import SharedFile
from pinyon.storage.postgres.connection.database import Connection

T = TypeVar("T")


class Run(Protocol):
    """Runs a function in a transaction on the catalogue."""

    async def __call__(self, call: Callable[[Connection], Awaitable[T]], /) -> T: ...


class DatabaseFiles:
    """A SharedFiles. reading, writing: run a function in a transaction on the catalogue."""

    def __init__(self, reading: Run, writing: Run) -> None:
        self._reading, self._writing = reading, writing

    async def read(self, path: str) -> SharedFile | None:
        return await self._reading(lambda connection: _read(connection, path))

    async def write(self, path: str, content: bytes, version: int) -> None:
        await self._writing(lambda connection: _write(connection, path, content, version))

    async def paths(self, folder: str) -> list[str]:
        return await self._reading(lambda connection: _paths(connection, folder))

    async def remove(self, folder: str) -> None:
        await self._writing(lambda connection: _remove(connection, folder))


async def _read(connection: Connection, path: str) -> SharedFile | None:
    cursor = await connection.execute("SELECT content, version FROM files WHERE path = %s", (path,), binary=True)
    row = await cursor.fetchone()
    return None if row is None else SharedFile(bytes(row[0]), row[1])


async def _write(connection: Connection, path: str, content: bytes, version: int) -> None:
    if version:
        query = "UPDATE files SET content = %b, version = version + 1 WHERE path = %s AND version = %s"
        cursor = await connection.execute(query, (content, path, version))
    else:
        query = "INSERT INTO files (path, content) VALUES (%s, %b) ON CONFLICT DO NOTHING"
        cursor = await connection.execute(query, (path, content))
    if not cursor.rowcount:
        raise VersionConflict(f"The file {path} was changed meanwhile; try again")


async def _paths(connection: Connection, folder: str) -> list[str]:
    query = "SELECT path FROM files WHERE starts_with(path, %s) ORDER BY written, path"
    return [path for (path,) in await (await connection.execute(query, (folder,))).fetchall()]


async def _remove(connection: Connection, folder: str) -> None:
    await connection.execute("DELETE FROM files WHERE starts_with(path, %s)", (folder,))
