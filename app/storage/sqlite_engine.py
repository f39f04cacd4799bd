"""The Engine on SQLite: one file per index, opened when the engine is, through apsw with sqlite-vec."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw

from app.domain import (
    Change,
    Fingerprint,
    IndexSpec,
    Metadata,
    NamespaceInfo,
    Page,
    QueryAnswer,
    QueryPlan,
    Record,
    Selection,
)
from app.errors import AlreadyExists, FailedPrecondition, NotFound
from app.storage import namespaces, reading, tables, writing
from app.storage.data_dir import DataDir
from app.storage.database import Database
from app.storage.vector_cache import VectorCache


class SqliteEngine:
    """A folder of index files. Made by open_folder()."""

    def __init__(self, folder: DataDir, readers: int, mmap_bytes: int, cache_bytes: int) -> None:
        self._folder, self._readers, self._mmap_bytes = folder, readers, mmap_bytes
        self._cache_bytes = cache_bytes
        self._caches: dict[str, VectorCache] = {}
        self._databases: dict[str, Database] = {}
        self._specs: dict[str, IndexSpec] = {}

    @classmethod
    async def open_folder(cls, path: Path, readers: int, mmap_bytes: int, cache_bytes: int = 0) -> "SqliteEngine":
        """Lock the folder and open every index in it. Raises FailedPrecondition or DataLoss, naming the file."""
        engine = cls(DataDir(path), readers, mmap_bytes, cache_bytes)
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
        def run(connection: apsw.Connection) -> int:
            if fingerprint is not None:
                tables.claim(connection, fingerprint)
            return writing.upsert(connection, self._specs[index], namespace, records)

        return await self._database(index).write(run)

    async def query(self, index: str, namespace: str, plan: QueryPlan) -> QueryAnswer:
        database, spec = self._database(index), self._specs[index]
        cache = self._caches.setdefault(index, VectorCache(self._cache_bytes))
        return await database.read(lambda connection: reading.query(connection, spec, namespace, plan, cache))

    async def page(
        self,
        index: str,
        namespace: str,
        selection: Selection,
        limit: int,
        after: str = "",
        prefix: str = "",
        whole: bool = True,
    ) -> Page:
        database, spec = self._database(index), self._specs[index]
        return await database.read(
            lambda connection: reading.page(connection, spec, namespace, selection, limit, after, prefix, whole)
        )

    async def update(
        self,
        index: str,
        namespace: str,
        selection: Selection,
        change: Change,
        check: Callable[[str, Metadata], None],
        most: int,
    ) -> tuple[int, int]:
        database, spec = self._database(index), self._specs[index]
        return await database.write(
            lambda connection: writing.update(connection, spec, namespace, selection, change, check, most)
        )

    async def count(self, index: str, namespace: str, selection: Selection) -> int:
        return await self._database(index).read(lambda connection: writing.count(connection, namespace, selection))

    async def delete(self, index: str, namespace: str, selection: Selection) -> int:
        database, spec = self._database(index), self._specs[index]
        return await database.write(lambda connection: writing.delete(connection, spec, namespace, selection))

    async def counts(self, index: str) -> dict[str, int]:
        return await self._database(index).read(namespaces.counts)

    async def namespaces(
        self, index: str, limit: int, after: str = "", prefix: str = ""
    ) -> tuple[list[NamespaceInfo], bool, int]:
        return await self._database(index).read(lambda connection: namespaces.page(connection, limit, after, prefix))

    async def namespace(self, index: str, name: str) -> NamespaceInfo:
        return await self._database(index).read(lambda connection: namespaces.describe(connection, name))

    async def create_namespace(self, index: str, name: str, schema: dict[str, Any] | None) -> int:
        return await self._database(index).write(lambda connection: namespaces.create(connection, name, schema))

    async def delete_namespace(self, index: str, name: str) -> int:
        database, spec = self._database(index), self._specs[index]
        return await database.write(lambda connection: writing.delete_namespace(connection, spec, name))

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
