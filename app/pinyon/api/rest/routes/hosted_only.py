"""Empty lists of what only the hosted service has: backups, restore jobs and bulk imports.

Some clients read these lists by themselves, and fail on a 404.
"""

from typing import Any

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from pinyon.auth.permissions import check
from pinyon.domain import Index
from pinyon.errors import NotFound
from pinyon.services.control_plane.indexes import Indexes


@get("/backups", operation_id="list_project_backups")
async def list_backups() -> dict[str, Any]:
    """No backups; `pinyon backup` copies a whole installation."""
    check("read")
    return {"data": []}


@get("/backups/{backup_id:str}", operation_id="describe_backup")
async def describe_backup(backup_id: FromPath[str]) -> None:
    """Always NotFound."""
    check("read")
    raise NotFound(f"Backup {backup_id} not found.")


@get("/indexes/{index_name:str}/backups", operation_id="list_index_backups")
async def list_index_backups(index_name: FromPath[str], indexes: NamedDependency[Indexes]) -> dict[str, Any]:
    """An empty list."""
    indexes.index(index_name)
    return {"data": []}


@get("/restore-jobs", operation_id="list_restore_jobs")
async def list_restore_jobs() -> dict[str, Any]:
    """An empty list."""
    check("read")
    return {"data": []}


@get("/restore-jobs/{job_id:str}", operation_id="describe_restore_job")
async def describe_restore_job(job_id: FromPath[str]) -> None:
    """Always NotFound."""
    check("read")
    raise NotFound(f"Restore job {job_id} not found.")


@get("/bulk/imports", operation_id="listBulkImports")
async def list_imports(index: NamedDependency[Index]) -> dict[str, Any]:
    """An empty list."""
    check("read", index.handle)
    return {"data": []}


@get("/bulk/imports/{import_id:str}", operation_id="describeBulkImport")
async def describe_import(import_id: FromPath[str], index: NamedDependency[Index]) -> None:
    """Always NotFound."""
    check("read", index.handle)
    raise NotFound(f"Import {import_id} not found.")


router = Router(
    "/",
    route_handlers=[
        list_backups,
        describe_backup,
        list_index_backups,
        list_restore_jobs,
        describe_restore_job,
        list_imports,
        describe_import,
    ],
)
