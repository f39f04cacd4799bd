"""`pinyon doctor`: what this installation has, what is missing, and how to get it. Changes nothing."""

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import apsw
import msgspec

from pinyon.domain import IndexSpec
from pinyon.errors import FailedPrecondition, PinyonError
from pinyon.inference.catalog import Catalog
from pinyon.services.control_plane.index_rules import from_settings
from pinyon.services.control_plane.indexes import check_same
from pinyon.settings import Settings
from pinyon.storage.sqlite.connection.database import connect, connect_frozen, translated
from pinyon.storage.sqlite.folder.data_dir import in_use_by, set_aside_in
from pinyon.storage.sqlite.schema import migrations, tables

ENOUGH_MEMORY = 2_000_000_000
ENOUGH_DISK = 1_000_000_000


class Finding(msgspec.Struct, frozen=True):
    """One line of the report. FAIL: the server cannot start, or its index cannot embed."""

    level: Literal["ok", "note", "FAIL"]
    what: str
    found: str

    def __str__(self) -> str:
        return f"{self.level:4}  {self.what:12} {self.found}"


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order of a start."""
    return [*_software(), *_memory(), *_data(settings), *_models(settings)]


def _software() -> Iterator[Finding]:
    yield Finding("ok", "Python", f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores")
    try:
        connection = connect(Path(":memory:"), 0, "write")
        vec = connection.execute("SELECT vec_version()").get
        yield Finding("ok", "SQLite", f"{apsw.sqlite_lib_version()} (apsw {apsw.apsw_version()}), sqlite-vec {vec}")
        connection.close()
    except (apsw.Error, OSError) as error:
        yield Finding("FAIL", "SQLite", f"sqlite-vec does not load: {error}; `make setup` reinstalls it")
    for package in ("torch", "sentence-transformers"):
        try:
            yield Finding("ok", package, version(package))
        except PackageNotFoundError:
            yield Finding("FAIL", package, "is not installed; `make setup` installs it")


def _memory() -> Iterator[Finding]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        held = dict(line.split(":", 1) for line in lines)
        free = int(held["MemAvailable"].split()[0]) * 1024
    except (ValueError, OSError, KeyError):
        yield Finding("note", "memory", "this system does not say how much is free")
        return
    few = free < ENOUGH_MEMORY
    wanted = "; the built-in models want about 1 GB" if few else ""
    yield Finding("note" if few else "ok", "memory", f"{free / 1e9:.1f} GB free{wanted}")


def _data(settings: Settings) -> Iterator[Finding]:
    folder = Path(settings.storage.data_dir).resolve()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    yield Finding("ok" if free > ENOUGH_DISK else "note", "disk", f"{free / 1e9:.1f} GB free")
    if not existing.is_dir():
        yield Finding("FAIL", "data", f"{existing} is not a folder")
    elif not os.access(existing, os.W_OK):
        yield Finding("FAIL", "data", f"{existing} cannot be written")
    elif existing != folder:
        yield Finding("note", "data", f"{folder} does not exist yet; the first start makes it")
    elif holder := in_use_by(folder):
        yield Finding("note", "data", f"{folder} is in use by {holder}, its indexes were not looked at")
    else:
        yield Finding("ok", "data", f"{folder} can be opened")
        for aside in set_aside_in(folder):
            yield Finding("note", "set aside", f"{folder / 'set-aside' / aside}: see docs/reliability.md")
        for file in sorted((folder / "indexes").glob("*.sqlite")):
            yield _index(file, settings)


def _index(file: Path, settings: Settings) -> Finding:
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
    return _compared(spec, settings)


def _compared(spec: IndexSpec, settings: Settings) -> Finding:
    if settings.index is not None and settings.index.name == spec.name:
        try:
            catalog = Catalog(settings.models_dir, settings.models.paths, settings.models.stand_ins)
            check_same(spec, from_settings(settings.index, catalog))
        except PinyonError as error:
            return Finding("FAIL", "index", error.message)
    return Finding("ok", "index", f"{spec.name}: {spec.dimension} dimensions, {spec.metric}")


def _models(settings: Settings) -> Iterator[Finding]:
    models = settings.models
    try:
        catalog = Catalog(settings.models_dir, models.paths, models.stand_ins)
        for name in models.preload:
            catalog.entry(name, "rerank")
        if settings.index is not None:
            from_settings(settings.index, catalog)
    except PinyonError as error:
        yield Finding("FAIL", "models", error.message)
        return
    for name in catalog.entries:
        try:
            answer = catalog.answer(name)
        except FailedPrecondition as error:
            wanted = settings.index is not None and settings.index.model == name
            yield Finding("FAIL" if wanted else "note", "model", error.message)
        else:
            missing = f" ({catalog.how_to_get(name)})" if answer.stand_in else ""
            yield Finding("note" if missing else "ok", "model", answer.label + missing)
