"""The Engine on SQLite: one file per index, opened when the engine is, through apsw with sqlite-vec."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from app.domain import Fingerprint, IndexSpec, QueryAnswer, QueryPlan, Record
from app.errors import AlreadyExists, FailedPrecondition, NotFound
from app.storage import tables
from app.storage.data_dir import DataDir
from app.storage.database import Database


class SqliteEngine:
    """A folder of index files. Made by open_folder()."""

    def __init__(self, folder: DataDir, readers: int, mmap_bytes: int) -> None:
        self._folder, self._readers, self._mmap_bytes = folder, readers, mmap_bytes
        self._databases: dict[str, Database] = {}
        self._specs: dict[str, IndexSpec] = {}

    @classmethod
    async def open_folder(cls, path: Path, readers: int, mmap_bytes: int) -> "SqliteEngine":
        """Lock the folder and open every index in it. Raises FailedPrecondition or DataLoss, naming the file."""
        engine = cls(DataDir(path), readers, mmap_bytes)
        try:
            for file in sorted(engine._folder.indexes.glob("*.sqlite")):
                await engine._open_index(file.stem)
        except BaseException:
            await engine.close()
            raise
        return engine

    async def _open_index(self, name: str) -> None:
        file = self._folder.index_file(name)
        database = await asyncio.to_thread(Database, file, self._readers, self._mmap_bytes)
        spec = await database.read(tables.index_spec)
        if spec is None or spec.name != name:
            await database.close()
        if spec is None:  # a crash between making the file and saying what it is: nothing was ever stored
            return
        if spec.name != name:
            raise FailedPrecondition(
                f"The file {file.name} holds the index {spec.name}; give it its name back, or move it elsewhere"
            )
        self._databases[name], self._specs[name] = database, spec

    async def create_index(self, spec: IndexSpec) -> None:
        if spec.name in self._specs:
            raise AlreadyExists(f"Index {spec.name} already exists")
        file = self._folder.index_file(spec.name)
        database = await asyncio.to_thread(Database, file, self._readers, self._mmap_bytes)
        try:
            await database.write(lambda connection: tables.create_index(connection, spec))
        except BaseException:
            await database.close()
            raise
        self._databases[spec.name], self._specs[spec.name] = database, spec

    async def indexes(self) -> list[IndexSpec]:
        return [self._specs[name] for name in sorted(self._specs)]

    async def fingerprint(self, index: str) -> Fingerprint | None:
        return await self._database(index).read(tables.fingerprint)

    async def upsert(
        self, index: str, namespace: str, records: Sequence[Record], fingerprint: Fingerprint | None = None
    ) -> int:
        return await self._database(index).write(
            lambda connection: tables.upsert(connection, namespace, records, fingerprint)
        )

    async def query(self, index: str, namespace: str, plan: QueryPlan) -> QueryAnswer:
        database, spec = self._database(index), self._specs[index]
        return await database.read(lambda connection: tables.query(connection, spec, namespace, plan))

    async def close(self) -> None:
        for database in self._databases.values():
            await database.close()
        self._databases.clear()
        self._folder.close()

    def _database(self, index: str) -> Database:
        try:
            return self._databases[index]
        except KeyError:
            raise NotFound(f"Index {index} not found.") from None
