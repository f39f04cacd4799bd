"""`pinyon doctor`: reports what this installation has, what is missing, and how to get it. Changes nothing."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pinyon.domain import IndexSpec
from pinyon.errors import FailedPrecondition, PinyonError
from pinyon.inference.catalog import Catalog
from pinyon.patches import hypercorn, litestar, rank_bm25
from pinyon.services.control_plane.settings_rules import following, from_settings
from pinyon.settings import Settings
from pinyon.storage.engines import installation_of
from pinyon.storage.installation import Finding, Installation

ENOUGH_MEMORY = 2_000_000_000
"""Bytes of free memory below which the report warns."""


def examine(settings: Settings) -> list[Finding]:
    """All findings, in the order in which a start meets them."""
    installation = installation_of(settings.storage)
    return [*_software(installation), *_memory(), *_data(settings, installation), *_models(settings, installation)]


def _software(installation: Installation) -> Iterator[Finding]:
    yield Finding("ok", "Python", f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores")
    yield from installation.software()
    for package in ("torch", "sentence-transformers"):
        try:
            yield Finding("ok", package, version(package))
        except PackageNotFoundError:
            yield Finding("FAIL", package, "is not installed; `make setup` installs it")
    for library, check in {
        "hypercorn": hypercorn.check,
        "litestar": litestar.check,
        "rank-bm25": rank_bm25.check,
    }.items():
        try:
            check()
            yield Finding("ok", library, version(library))
        except FailedPrecondition as error:
            yield Finding("FAIL", library, error.message)


def _memory() -> Iterator[Finding]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (ValueError, OSError, KeyError):
        yield Finding("note", "memory", "this system does not say how much is free")
        return
    few = free < ENOUGH_MEMORY
    wanted = "; the built-in models want about 1 GB" if few else ""
    yield Finding("note" if few else "ok", "memory", f"{free / 1e9:.1f} GB free{wanted}")


def _data(settings: Settings, installation: Installation) -> Iterator[Finding]:
    for finding in installation.findings():
        yield finding if finding.spec is None else _compared(finding, finding.spec, settings, installation)


def _compared(finding: Finding, spec: IndexSpec, settings: Settings, installation: Installation) -> Finding:
    """The finding itself, or a failure if the index differs from the settings."""
    if settings.index is not None and settings.index.name == spec.name:
        try:
            catalog = Catalog.of(settings)
            following(spec, from_settings(settings.index, catalog, installation.limits.dimension))
        except PinyonError as error:
            return Finding("FAIL", "index", error.message)
    return finding


def _models(settings: Settings, installation: Installation) -> Iterator[Finding]:
    models = settings.models
    try:
        catalog = Catalog.of(settings)
        for name in models.preload:
            catalog.entry(name, "rerank")
        if settings.index is not None:
            from_settings(settings.index, catalog, installation.limits.dimension)
    except PinyonError as error:
        yield Finding("FAIL", "models", error.message)
        return
    not_pulled = 0
    for name, entry in catalog.entries.items():
        try:
            answer = catalog.answer(name)
        except FailedPrecondition as error:
            wanted = settings.index is not None and settings.index.model == name
            if entry.pinned and not wanted and catalog.folder(name) is None:
                not_pulled += 1
                continue
            yield Finding("FAIL" if wanted else "note", "model", error.message)
        else:
            missing = f" ({catalog.how_to_get(name)})" if answer.stand_in else ""
            why = catalog.why(name) if not missing else ""
            computed = f", computed in {answer.precision} ({why})" if why else ""
            yield Finding("note" if missing else "ok", "model", answer.label + missing + computed)
    if not_pulled:
        yield Finding("note", "model", f"{not_pulled} further ones can be pulled; `pinyon models list` names them")
