"""The routes for backups of indexes, and for the jobs that restore them."""

from typing import Annotated, Any

import msgspec
from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter, RawBody
from litestar.types import ASGIApp

from pinyon.api.rest.bodies import decode_body, truth, whole_number
from pinyon.api.rest.json_response import JsonResponse
from pinyon.api.rest.routes.control import AnyRequest, api_version, decode
from pinyon.api.rest.schemas import backup_schemas as schemas
from pinyon.api.rest.schemas.control_schemas import FIRST_WITH_SCHEMAS
from pinyon.services.backups.backups import Backups
from pinyon.services.data_plane.backup_records import BackupRecords


@post("/indexes/{index_name:str}/backups", status_code=201, operation_id="create_backup")
async def create_backup(
    request: AnyRequest, index_name: FromPath[str], body: RawBody, backups: NamedDependency[Backups]
) -> dict[str, Any]:
    """Take a backup of an index."""
    data = decode_body(body or b"{}", schemas.CreateBackupRequest)
    return schemas.backup(await backups.create(index_name, data.name, data.description), api_version(request))


@get("/indexes/{index_name:str}/backups", operation_id="list_index_backups")
async def list_index_backups(
    request: AnyRequest,
    index_name: FromPath[str],
    backups: NamedDependency[Backups],
    limit: Annotated[str | None, QueryParameter()] = None,
    pagination_token: Annotated[str | None, QueryParameter(name="paginationToken")] = None,
    include_deleted: Annotated[str | None, QueryParameter()] = None,
) -> dict[str, Any]:
    """A page of the backups of an index.

    Since version 2026-07 it leaves out those of deleted indexes that had the name, unless `include_deleted` is true.
    Earlier versions do not have the parameter, and their lists have them all.
    """
    every = api_version(request) < FIRST_WITH_SCHEMAS
    include = truth(include_deleted, "include_deleted", default=every)
    page, following = await backups.page(index_name, whole_number(limit, "limit"), pagination_token, include)
    return schemas.page([schemas.backup(state, api_version(request)) for state in page], following)


@get("/backups", operation_id="list_project_backups")
async def list_backups(
    request: AnyRequest,
    backups: NamedDependency[Backups],
    limit: Annotated[str | None, QueryParameter()] = None,
    pagination_token: Annotated[str | None, QueryParameter(name="paginationToken")] = None,
) -> dict[str, Any]:
    """A page of the backups of all indexes, of deleted ones too."""
    page, following = await backups.page(None, whole_number(limit, "limit"), pagination_token)
    return schemas.page([schemas.backup(state, api_version(request)) for state in page], following)


@get("/backups/{backup_id:str}", operation_id="describe_backup")
async def describe_backup(
    request: AnyRequest, backup_id: FromPath[str], backups: NamedDependency[Backups]
) -> dict[str, Any]:
    """One backup."""
    return schemas.backup(await backups.describe(backup_id), api_version(request))


@delete("/backups/{backup_id:str}", status_code=202, operation_id="delete_backup")
async def delete_backup(backup_id: FromPath[str], backups: NamedDependency[Backups]) -> Response[bytes]:
    """Delete a backup."""
    await backups.delete(backup_id)
    return Response(b"", status_code=202)


@post("/backups/{backup_id:str}/create-index", status_code=202, operation_id="create_index_from_backup_operation")
async def create_index_from_backup(
    request: AnyRequest, backup_id: FromPath[str], body: RawBody, backups: NamedDependency[Backups]
) -> dict[str, Any]:
    """Begin to make a new index of a backup."""
    data = decode(request, body, schemas.CreateIndexFromBackupRequest)
    protected = data.deletion_protection == "enabled"
    job = await backups.restore(backup_id, data.name, data.tags or {}, protected, data.read_capacity)
    return {"restore_job_id": job.id, "index_id": job.target_id}


@get("/backups/{backup_id:str}/namespaces", operation_id="pinyon_backup_namespaces")
async def list_backup_namespaces(
    backup_id: FromPath[str], backup_records: NamedDependency[BackupRecords]
) -> schemas.BackupNamespaces:
    """The namespaces of a backup. An extension of Pinyon."""
    every = await backup_records.namespaces(backup_id)
    return schemas.BackupNamespaces([schemas.BackupNamespace(each.name, each.record_count) for each in every])


@post("/backups/{backup_id:str}/records", status_code=200, operation_id="pinyon_backup_records")
async def list_backup_records(
    backup_id: FromPath[str], body: RawBody, backup_records: NamedDependency[BackupRecords]
) -> ASGIApp:
    """A page of the records of a backup, by id. An extension of Pinyon."""
    data = decode_body(body or b"{}", schemas.BackupRecordsRequest)
    records, token = await backup_records.page(
        backup_id, data.namespace, data.filter, data.limit, data.pagination_token
    )
    return JsonResponse(msgspec.json.encode(schemas.records(records, token, data.include_values)), {})


@get("/restore-jobs", operation_id="list_restore_jobs")
async def list_restore_jobs(
    backups: NamedDependency[Backups],
    limit: Annotated[str | None, QueryParameter()] = None,
    pagination_token: Annotated[str | None, QueryParameter(name="paginationToken")] = None,
) -> dict[str, Any]:
    """A page of restore jobs."""
    page, following = await backups.jobs(whole_number(limit, "limit"), pagination_token)
    return schemas.page([schemas.job(job) for job in page], following)


@get("/restore-jobs/{job_id:str}", operation_id="describe_restore_job")
async def describe_restore_job(job_id: FromPath[str], backups: NamedDependency[Backups]) -> dict[str, Any]:
    """One restore job."""
    return schemas.job(await backups.job(job_id))


router = Router(
    "/",
    route_handlers=[
        create_backup,
        list_index_backups,
        list_backups,
        describe_backup,
        delete_backup,
        list_backup_namespaces,
        list_backup_records,
        create_index_from_backup,
        list_restore_jobs,
        describe_restore_job,
    ],
)
