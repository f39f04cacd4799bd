"""A data folder of the SQLite engine, for the commands and for whoever opens it."""

import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import apsw

from pinyon import native_packages
from pinyon.errors import FailedPrecondition
from pinyon.settings import StorageSettings
from pinyon.storage.engine import Engine, EngineLimits
from pinyon.storage.holder import Holder
from pinyon.storage.installation import Finding, Report
from pinyon.storage.sqlite.connection.connections import connect, connect_frozen
from pinyon.storage.sqlite.connection.file_errors import translated
from pinyon.storage.sqlite.folder import data_dir
from pinyon.storage.sqlite.folder.backups import folder_backup
from pinyon.storage.sqlite.options import LIMITS
from pinyon.storage.sqlite.schema import migrations, tables

ENOUGH_DISK = 1_000_000_000
"""Bytes of free disk below which a report says so."""


class SqliteInstallation:
    """An Installation: a folder with a file for each index."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._folder = Path(settings.data_dir).resolve()

    @property
    def location(self) -> str:
        return str(self._folder)

    @property
    def limits(self) -> EngineLimits:
        return LIMITS

    @property
    def is_shared(self) -> bool:
        return False

    async def open(self, wait: bool = True) -> Engine:
        from pinyon.storage.sqlite.engine import SqliteEngine

        settings = self._settings
        return await SqliteEngine.open_folder(
            self._folder,
            settings.readers,
            settings.mmap_bytes,
            cache_bytes=settings.vector_cache_bytes,
            writes_per_commit=settings.writes_per_commit,
            filter_cache_bytes=settings.filter_cache_bytes,
            column_bytes=settings.column_bytes,
            posting_cache_bytes=settings.posting_cache_bytes,
            approximate_from=settings.approximate_from_records,
            approximate_recall=settings.approximate_recall,
            inline_read_s=settings.inline_read_ms / 1000,
            read_only=settings.read_only,
            wait=wait,
        )

    def require(self) -> None:
        if not self._folder.is_dir():
            raise FailedPrecondition(
                f"There is no data folder at {self._folder}. `pinyon serve` makes it. If your server uses another one, "
                "name that; most commands take --data-dir or --config"
            )

    def holder(self) -> Holder | None:
        return data_dir.holder(self._folder)

    def announce(self, url: str) -> None:
        data_dir.announce(self._folder, url)

    def backup(self, to: Path) -> list[str]:
        return folder_backup.backup(self._folder, to)

    def restore(self, backup_folder: Path) -> list[str]:
        return folder_backup.restore(backup_folder, self._folder)

    def restore_index(self, backup_folder: Path, name: str) -> Path | None:
        return folder_backup.restore_index(backup_folder, self._folder, name)

    def check(self, names: list[str]) -> Iterator[Report]:
        from pinyon.storage.sqlite.upkeep.folder_check import check_folder

        return check_folder(self._folder, names)

    def repair(self, report: Report, accept: bool) -> str:
        from pinyon.storage.sqlite.upkeep.folder_check import repair

        return repair(self._folder, cast(Any, report), accept)

    def software(self) -> Iterator[Finding]:
        try:
            connection = connect(Path(":memory:"), 0, "write")
            version = connection.execute("SELECT vec_version()").get
            connection.close()
        except (apsw.Error, OSError) as error:
            yield Finding("FAIL", "SQLite", f"sqlite-vec does not load: {error}; `make setup` reinstalls it")
            return
        library = f"{apsw.sqlite_lib_version()} (apsw {apsw.apsw_version()})"
        yield Finding("ok", "SQLite", f"{library}, sqlite-vec {version}")
        for name, package in native_packages.PACKAGES.items():
            yield _native(name, package)

    def findings(self) -> Iterator[Finding]:
        folder = self._folder
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        yield Finding("ok" if free > ENOUGH_DISK else "note", "disk", f"{free / 1e9:.1f} GB free")
        if not existing.is_dir():
            yield Finding("FAIL", "data", f"{existing} is not a folder")
        elif not os.access(existing, os.W_OK):
            yield Finding("FAIL", "data", f"{existing} cannot be written")
        elif existing != folder:
            yield Finding("note", "data", f"{folder} does not exist yet; the first start makes it")
        elif (holder := self.holder()) is not None:
            yield Finding("note", "data", f"{folder} is in use by {holder.name}; its indexes were not examined")
        else:
            yield Finding("ok", "data", f"{folder} can be opened")
            for name in data_dir.set_aside_in(folder):
                yield Finding("note", "set aside", f"{folder / 'set-aside' / name}: see docs/reliability.md")
            for file in sorted((folder / "indexes").glob("*.sqlite")):
                yield _index(file)


def _native(name: str, package: native_packages.Package) -> Finding:
    match native_packages.state(name):
        case "usable":
            return Finding("ok", name, f"{metadata.version(package.distribution)} runs on this processor")
        case "not installed":
            return Finding("note", name, f"is not installed: {package.without}; pip install {package.distribution}")
        case "fails":
            return Finding("note", name, f"does not run on this processor: {package.without}")


def _index(file: Path) -> Finding:
    if file.with_name(file.name + "-wal").exists():
        return Finding("note", "index", f"{file.stem} was not closed; the next start replays its log")
    try:
        connection = connect_frozen(file)
        try:
            migrations.check(connection, file.name)
            spec = tables.index_spec(connection)
        finally:
            connection.close()
    except apsw.Error as error:
        return Finding("FAIL", "index", translated(error, file).message)
    except FailedPrecondition as error:
        return Finding("FAIL", "index", error.message)
    if spec is None:
        return Finding("note", "index", f"{file.stem} was never finished; the next start removes it or sets it aside")
    return Finding("ok", "index", f"{spec.name}: {spec.dimension} dimensions, {spec.metric}", spec)
