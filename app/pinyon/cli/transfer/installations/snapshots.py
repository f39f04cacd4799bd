"""One moment of each index of a data folder or a database, which stays the same while others write.

A data folder is copied to another folder, and that copy is opened: so a server may have the folder open. A database is
opened beside its servers, and each index gets a backup. Both outlast this process, so an interrupted copy goes on with
the same moment.
"""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import msgspec

from pinyon.cli.transfer.installations.state import CopyState, IndexProgress
from pinyon.domain import BackupLabel, Fingerprint, Index, NamespaceInfo, Note, Page, PagePlan
from pinyon.errors import FailedPrecondition, NotFound
from pinyon.settings import StorageSettings
from pinyon.shared_files import SharedFiles
from pinyon.storage.engine import Engine
from pinyon.storage.engines import installation_of

NAME = "pinyon copy"
"""Of the backups, so that who lists them sees what they are for."""

Save = Callable[[], None]
"""Stores the state, before something is made that only the state knows of."""


class CopiedIndex(msgspec.Struct, frozen=True):
    """An index at its moment. embedded_by: what embedded its records."""

    index: Index
    embedded_by: Fingerprint | None


class Snapshot(Protocol):
    """Methods raise PinyonError."""

    @property
    def files(self) -> SharedFiles | None:
        """The shared files of the source, as they are by now. None if it has a data folder."""
        ...

    async def index(self, name: str) -> CopiedIndex:
        """What the index was."""
        ...

    async def namespaces(self, name: str) -> list[NamespaceInfo]:
        """The namespaces of the index, in byte order of their names."""
        ...

    async def page(self, name: str, namespace: str, plan: PagePlan) -> Page:
        """Records of the index."""
        ...

    async def notes(self, name: str) -> list[Note]:
        """The notes of the index. They may be later than its moment."""
        ...

    async def close(self) -> None:
        """Close what is open. The snapshot stays."""
        ...


async def open_snapshot(settings: StorageSettings, state: CopyState, save: Save) -> Snapshot:
    """The snapshot that the state describes. What is missing is made, if nothing was copied from it yet.

    Raises NotFound without the index that the state names.
    """
    if settings.engine == "sqlite":
        return await FolderSnapshot.open(settings, state, save)
    return await DatabaseSnapshot.open(settings, state, save)


async def remove_snapshot(settings: StorageSettings, state: CopyState) -> None:
    """Remove what was made for a snapshot, which is closed."""
    if settings.engine == "sqlite":
        await asyncio.to_thread(shutil.rmtree, state.folder, ignore_errors=True)
        return
    engine = await installation_of(settings).open()
    try:
        taken = {backup.label.id for backup in await engine.backups()}
        for progress in (state.indexes or {}).values():
            if progress.backup in taken:
                await engine.delete_backup(progress.backup)
    finally:
        await engine.close()


class FolderSnapshot:
    """A copy of a data folder, opened by this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, settings: StorageSettings, state: CopyState, save: Save) -> "FolderSnapshot":
        """Copy the data folder, or go on with its copy; then open it."""
        source = installation_of(settings)
        source.require()
        if not state.folder:
            data = Path(settings.data_dir).resolve()
            state.folder = str(data.with_name(f"{data.name}.copying-{uuid4().hex[:8]}"))
            save()
        folder = Path(state.folder)
        if not folder.exists():
            _check_nothing_copied(state, f"the folder {folder}")
            await asyncio.to_thread(source.backup, folder)
        # Nothing is searched here, so nothing needs a search index.
        own = msgspec.structs.replace(settings, data_dir=str(folder), approximate_from=0, read_only=False)
        engine = await installation_of(own).open()
        try:
            unusable = engine.unusable()
            wrong = next((name for name in unusable if state.index in (None, name)), None)
            if wrong is not None:
                raise unusable[wrong]
            if state.indexes is None:
                state.indexes = {name: IndexProgress() for name in _wanted(engine.indexes(), state, source.location)}
                save()
        except BaseException:
            await engine.close()
            raise
        return cls(engine)

    async def index(self, name: str) -> CopiedIndex:
        return CopiedIndex(self._engine.index(name), await self._engine.fingerprint(name))

    async def namespaces(self, name: str) -> list[NamespaceInfo]:
        return await self._engine.every_namespace(name)

    async def page(self, name: str, namespace: str, plan: PagePlan) -> Page:
        return await self._engine.page(name, namespace, plan)

    @property
    def files(self) -> SharedFiles | None:
        return None

    async def notes(self, name: str) -> list[Note]:
        return await self._engine.notes(name)

    async def close(self) -> None:
        await self._engine.close()


class DatabaseSnapshot:
    """A backup of each index of a database."""

    def __init__(self, engine: Engine, indexes: dict[str, IndexProgress]) -> None:
        self._engine, self._indexes = engine, indexes

    @classmethod
    async def open(cls, settings: StorageSettings, state: CopyState, save: Save) -> "DatabaseSnapshot":
        """Open the database, and make the backups that are missing."""
        source = installation_of(settings)
        engine = await source.open()
        try:
            if state.indexes is None:
                wanted = _wanted(engine.indexes(), state, source.location)
                state.indexes = {name: IndexProgress(backup=str(uuid4())) for name in wanted}
                save()
            taken = {backup.label.id for backup in await engine.backups()}
            for name, progress in state.indexes.items():
                if progress.backup not in taken:
                    _check_nothing_copied(state, f"the backup {progress.backup} of index {name}")
                    await engine.create_backup(name, BackupLabel(progress.backup, _now(), NAME))
        except BaseException:
            await engine.close()
            raise
        return cls(engine, state.indexes)

    async def index(self, name: str) -> CopiedIndex:
        id = self._indexes[name].backup
        backup = next((each for each in await self._engine.backups() if each.label.id == id), None)
        if backup is None:
            raise NotFound(f"The backup {id} of index {name}, from which it is copied, was deleted meanwhile")
        return CopiedIndex(backup.index, backup.embedded_by)

    async def namespaces(self, name: str) -> list[NamespaceInfo]:
        return await self._engine.backup_namespaces(self._indexes[name].backup)

    async def page(self, name: str, namespace: str, plan: PagePlan) -> Page:
        return await self._engine.backup_page(self._indexes[name].backup, namespace, plan)

    @property
    def files(self) -> SharedFiles | None:
        return self._engine.files

    async def notes(self, name: str) -> list[Note]:
        try:
            return await self._engine.notes((await self.index(name)).index.handle)
        except NotFound:  # the index was deleted meanwhile, and a backup has no notes
            return []

    async def close(self) -> None:
        await self._engine.close()


def _wanted(indexes: Sequence[Index], state: CopyState, place: str) -> list[str]:
    """The names of the indexes to copy. Raises NotFound."""
    names = [index.name for index in indexes]
    if state.index is None:
        return names
    if state.index not in names:
        raise NotFound(f"There is no index {state.index} in {place}; it has: {', '.join(names) or 'none'}")
    return [state.index]


def _check_nothing_copied(state: CopyState, what: str) -> None:
    """Raises FailedPrecondition if records of another moment would be mixed with those of the first."""
    if state.copied:
        raise FailedPrecondition(
            f"The interrupted copy cannot go on, because {what}, from which it read, is gone. Delete the indexes that "
            "it has made in the target, and begin again without --resume"
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
