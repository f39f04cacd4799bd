"""Requests and responses of the routes for backups, restore jobs and backup schedules."""

from collections.abc import Sequence
from typing import Any

import msgspec

from pinyon.api.rest.schemas import control_schemas, vector_schemas
from pinyon.domain import Record
from pinyon.errors import InvalidArgument
from pinyon.services.backups.backups import BackupState
from pinyon.services.backups.restore_jobs import RestoreJob
from pinyon.services.backups.schedules import Schedule
from pinyon.services.moments import rfc3339

TIME_BASED = "time-based"
"""The only type of schedules."""
PROJECT = "pinyon"
"""Clients want the id of a project. An installation is one project."""


class CreateBackupRequest(msgspec.Struct):
    """POST /indexes/{name}/backups."""

    name: str | None = None
    description: str | None = None


class CreateIndexFromBackupRequest(msgspec.Struct):
    """POST /backups/{id}/create-index. read_capacity: from version 2026-07 on."""

    name: str
    tags: dict[str, str] | None = None
    deletion_protection: control_schemas.OnOff | None = None
    read_capacity: dict[str, Any] | None = None


class BackupRecordsRequest(msgspec.Struct):
    """POST /backups/{id}/records."""

    namespace: str = ""
    filter: dict[str, Any] | None = None
    limit: int | None = None
    pagination_token: str | None = None
    include_values: bool = False


class BackupRecord(msgspec.Struct, frozen=True):
    """A record of a backup. values, sparse_values: only if they were asked for and the record has them."""

    id: str
    metadata: msgspec.Raw
    values: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    sparse_values: vector_schemas.StoredSparse | msgspec.UnsetType = msgspec.UNSET


class BackupPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """POST /backups/{id}/records."""

    records: list[BackupRecord]
    pagination: vector_schemas.Pagination | None = None


class BackupNamespace(msgspec.Struct, frozen=True):
    """A namespace of a backup."""

    name: str
    record_count: int


class BackupNamespaces(msgspec.Struct, frozen=True):
    """GET /backups/{id}/namespaces."""

    namespaces: list[BackupNamespace]


def records(stored: Sequence[Record], token: str | None, with_values: bool) -> BackupPage:
    """A page of the records of a backup, as they are stored. token: of the next page."""
    return BackupPage(
        [
            BackupRecord(
                each.id,
                msgspec.Raw(each.metadata_json or msgspec.json.encode(each.metadata)),
                msgspec.UNSET if each.vector is None or not with_values else vector_schemas.numbers(each.vector),
                vector_schemas.stored_sparse(each.sparse if with_values else None),
            )
            for each in stored
        ],
        None if token is None else vector_schemas.Pagination(token),
    )


class ScheduleTimes(msgspec.Struct):
    """When a schedule runs."""

    frequency: str
    type: str = TIME_BASED

    def __post_init__(self) -> None:
        if self.type != TIME_BASED:
            raise InvalidArgument(f"schedule.type must be {TIME_BASED}, got '{self.type[:40]}'")


class Retention(msgspec.Struct):
    """How long a schedule keeps its backups."""

    expire_after_days: int


class CreateBackupScheduleRequest(msgspec.Struct):
    """POST /indexes/{name}/backup-schedules."""

    name: str
    schedule: ScheduleTimes
    retention: Retention


class UpdateBackupScheduleRequest(msgspec.Struct):
    """PATCH /backup-schedules/{id}."""

    frequency: str | None = None
    retention: Retention | None = None
    enabled: bool | None = None


def backup(state: BackupState, version: str) -> dict[str, Any]:
    """The description of a backup in this API version."""
    label, index, taken = state.label, state.index, state.backup
    described: dict[str, Any] = {
        "backup_id": label.id,
        "source_index_name": index.name,
        "source_index_id": index.handle.id,
        "name": label.name,
        "description": label.description,
        "status": state.status,
        "cloud": index.details.cloud,
        "region": index.details.region,
        "tags": index.details.tags or {},
        "created_at": label.created_at,
        "record_count": None if taken is None else taken.records,
        "namespace_count": None if taken is None else taken.namespaces,
        "size_bytes": None if taken is None else taken.bytes,
    }
    if state.problem is not None:
        described["error"] = state.problem
    if state.planned_for is not None:
        described["scheduled_execution_at"] = state.planned_for
    if version >= control_schemas.FIRST_WITH_SCHEMAS:
        status = "InitializationFailed" if state.status == "Failed" else state.status
        described |= {"status": status, "source_index_deleted_at": state.source_deleted_at}
        return {**described, "schema": control_schemas.schema(index)}
    dimension = None if index.spec.sparse else index.spec.dimension
    described |= {"dimension": dimension, "metric": index.spec.metric}
    return described if index.details.schema is None else {**described, "schema": index.details.schema}


def job(restore: RestoreJob) -> dict[str, Any]:
    """The description of a restore job."""
    described = {
        "restore_job_id": restore.id,
        "backup_id": restore.backup_id,
        "target_index_name": restore.target,
        "target_index_id": restore.target_id,
        "status": restore.status,
        "created_at": restore.created_at,
        "completed_at": restore.completed_at,
        "percent_complete": 100.0 if restore.status == "Completed" else 0.0,
    }
    return described if restore.problem is None else {**described, "error": restore.problem}


def schedule(described: Schedule) -> dict[str, Any]:
    """The description of a backup schedule."""
    return {
        "schedule_id": described.id,
        "name": described.name,
        "index_id": described.index.handle.id,
        "project_id": PROJECT,
        "schedule_type": TIME_BASED,
        "frequency": described.frequency,
        "retention_expire_after_days": described.retention_days,
        "enabled": described.enabled,
        "next_scheduled_run": None if described.run is None else rfc3339(described.run.due),
        "created_at": rfc3339(described.created_at),
    }


def page(data: list[dict[str, Any]], token: str | None) -> dict[str, Any]:
    """A page of a list."""
    return {"data": data} if token is None else {"data": data, "pagination": {"next": token}}
