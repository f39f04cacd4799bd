"""The routes for schedules that take backups of an index again and again."""

from typing import Annotated, Any

from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter, RawBody

from pinyon.api.rest.bodies import decode_body, whole_number
from pinyon.api.rest.schemas import backup_schemas as schemas
from pinyon.api.rest.schemas.control_schemas import FIRST_WITH_SCHEMAS
from pinyon.services.backups.schedules import BackupSchedules


@post("/indexes/{index_name:str}/backup-schedules", status_code=201, operation_id="create_backup_schedule")
async def create_backup_schedule(
    index_name: FromPath[str], body: RawBody, backup_schedules: NamedDependency[BackupSchedules]
) -> dict[str, Any]:
    """Begin to take backups of an index."""
    data = decode_body(body, schemas.CreateBackupScheduleRequest)
    when, days = data.schedule.frequency, data.retention.expire_after_days
    return schemas.schedule(await backup_schedules.create(index_name, data.name, when, days))


@get("/indexes/{index_name:str}/backup-schedules", operation_id="list_backup_schedules")
async def list_backup_schedules(
    index_name: FromPath[str],
    backup_schedules: NamedDependency[BackupSchedules],
    limit: Annotated[str | None, QueryParameter()] = None,
    pagination_token: Annotated[str | None, QueryParameter(name="paginationToken")] = None,
) -> dict[str, Any]:
    """A page of the schedules of an index."""
    page, following = await backup_schedules.page(index_name, whole_number(limit, "limit"), pagination_token)
    return schemas.page([schemas.schedule(schedule) for schedule in page], following)


@get("/backup-schedules/{schedule_id:str}", operation_id="describe_backup_schedule")
async def describe_backup_schedule(
    schedule_id: FromPath[str], backup_schedules: NamedDependency[BackupSchedules]
) -> dict[str, Any]:
    """One schedule."""
    return schemas.schedule(await backup_schedules.get(schedule_id))


@patch("/backup-schedules/{schedule_id:str}", status_code=200, operation_id="update_backup_schedule")
async def update_backup_schedule(
    schedule_id: FromPath[str], body: RawBody, backup_schedules: NamedDependency[BackupSchedules]
) -> dict[str, Any]:
    """Change a schedule."""
    data = decode_body(body or b"{}", schemas.UpdateBackupScheduleRequest)
    days = None if data.retention is None else data.retention.expire_after_days
    return schemas.schedule(await backup_schedules.update(schedule_id, data.frequency, days, data.enabled))


@delete("/backup-schedules/{schedule_id:str}", status_code=202, operation_id="delete_backup_schedule")
async def delete_backup_schedule(
    schedule_id: FromPath[str], backup_schedules: NamedDependency[BackupSchedules]
) -> Response[bytes]:
    """End a schedule."""
    await backup_schedules.delete(schedule_id)
    return Response(b"", status_code=202)


@get("/backup-schedules/{schedule_id:str}/history", operation_id="list_backup_schedule_history")
async def list_backup_schedule_history(
    schedule_id: FromPath[str],
    backup_schedules: NamedDependency[BackupSchedules],
    limit: Annotated[str | None, QueryParameter()] = None,
    pagination_token: Annotated[str | None, QueryParameter(name="paginationToken")] = None,
) -> dict[str, Any]:
    """A page of the runs of a schedule, newest first, in the shape of the first API version that has them."""
    page, following = await backup_schedules.history(schedule_id, whole_number(limit, "limit"), pagination_token)
    return schemas.page([schemas.backup(state, FIRST_WITH_SCHEMAS) for state in page], following)


router = Router(
    "/",
    route_handlers=[
        create_backup_schedule,
        list_backup_schedules,
        describe_backup_schedule,
        update_backup_schedule,
        delete_backup_schedule,
        list_backup_schedule_history,
    ],
)
