"""What the hosted service keeps beside indexes and Pinyon does not: lists that are empty, and nothing in them.

Clients ask for the lists without being asked to, and some take a 404 for a crash.
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
    """None; `pinyon backup` makes copies of a whole installation."""
    check("read")
    return {"data": []}


@get("/backups/{backup_id:str}", operation_id="describe_backup")
async def describe_backup(backup_id: FromPath[str]) -> None:
    """There is none."""
    check("read")
    raise NotFound(f"Backup {backup_id} not found.")


@get("/indexes/{index_name:str}/backups", operation_id="list_index_backups")
async def list_index_backups(index_name: FromPath[str], indexes: NamedDependency[Indexes]) -> dict[str, Any]:
    """None."""
    indexes.index(index_name)
    return {"data": []}


@get("/restore-jobs", operation_id="list_restore_jobs")
async def list_restore_jobs() -> dict[str, Any]:
    """None."""
    check("read")
    return {"data": []}


@get("/restore-jobs/{job_id:str}", operation_id="describe_restore_job")
async def describe_restore_job(job_id: FromPath[str]) -> None:
    """There is none."""
    check("read")
    raise NotFound(f"Restore job {job_id} not found.")


@get("/bulk/imports", operation_id="listBulkImports")
async def list_imports(index: NamedDependency[Index]) -> dict[str, Any]:
    """None."""
    check("read", index.handle)
    return {"data": []}


@get("/bulk/imports/{import_id:str}", operation_id="describeBulkImport")
async def describe_import(import_id: FromPath[str], index: NamedDependency[Index]) -> None:
    """There is none."""
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
