"""`pinyon doctor`: what this installation has, what is missing, and how to get it."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import apsw
import msgspec

from app.errors import FailedPrecondition, PinyonError
from app.inference.catalog import Catalog
from app.settings import Settings
from app.storage.data_dir import DataDir
from app.storage.database import connect

ENOUGH_MEMORY = 2_000_000_000
ENOUGH_DISK = 1_000_000_000


class Finding(msgspec.Struct, frozen=True):
    """One line of the report."""

    level: Literal["ok", "note", "FAIL"]
    what: str
    found: str

    def __str__(self) -> str:
        return f"{self.level:4}  {self.what:12} {self.found}"


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order of a start."""
    return [_python(), *_storage(settings), _memory(), *_models(settings)]


def _python() -> Finding:
    return Finding("ok", "Python", f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores")


def _storage(settings: Settings) -> Iterator[Finding]:
    try:
        connection = connect(Path(":memory:"), 0, "write")
        vec = connection.execute("SELECT vec_version()").get
        yield Finding("ok", "SQLite", f"{apsw.sqlite_lib_version()} (apsw {apsw.apsw_version()}), sqlite-vec {vec}")
        connection.close()
    except (apsw.Error, OSError) as error:
        yield Finding("FAIL", "SQLite", f"sqlite-vec does not load: {error}; `make setup` reinstalls it")
    folder = Path(settings.storage.data_dir).resolve()
    if not folder.exists():
        yield Finding("note", "data", f"{folder} does not exist yet; the first start makes it")
        folder = next(parent for parent in folder.parents if parent.exists())
    else:
        try:
            DataDir(folder).close()
            yield Finding("ok", "data", f"{folder} can be opened")
        except FailedPrecondition as error:
            yield Finding("note", "data", error.message)
    free = shutil.disk_usage(folder).free
    yield Finding("ok" if free > ENOUGH_DISK else "note", "disk", f"{free / 1e9:.1f} GB free")


def _memory() -> Finding:
    try:
        pages = os.sysconf("SC_AVPHYS_PAGES")
        meminfo = Path("/proc/meminfo")
        free = pages * os.sysconf("SC_PAGE_SIZE")
        if meminfo.exists():  # counts what the page cache would give back
            lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
            free = int(lines["MemAvailable"].split()[0]) * 1024
    except (ValueError, OSError, KeyError):
        return Finding("note", "memory", "this system does not say how much is free")
    if free < ENOUGH_MEMORY:
        return Finding("note", "memory", f"{free / 1e9:.1f} GB free; the built-in models want about 1 GB")
    return Finding("ok", "memory", f"{free / 1e9:.1f} GB free")


def _models(settings: Settings) -> Iterator[Finding]:
    models = settings.models
    try:
        catalog = Catalog(settings.models_dir, models.paths, models.stand_ins)
    except PinyonError as error:
        yield Finding("FAIL", "models", error.message)
        return
    for name in catalog.entries:
        try:
            answer = catalog.answer(name)
            catalog.verify(answer.by)
        except FailedPrecondition as error:
            wanted = settings.index is not None and settings.index.model == name
            yield Finding("FAIL" if wanted else "note", "model", error.message)
        else:
            if answer.stand_in:
                yield Finding("note", "model", f"{answer.label} ({catalog.how_to_get(name)})")
            else:
                yield Finding("ok", "model", answer.label)
    if settings.index is not None and settings.index.model not in catalog.entries:
        yield Finding("FAIL", "index", f"the settings name an unknown model '{settings.index.model}'")
