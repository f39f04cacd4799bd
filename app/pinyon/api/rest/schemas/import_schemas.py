"""Requests and responses of the routes for bulk imports."""

import msgspec

from pinyon.api.rest.schemas.vector_schemas import Pagination
from pinyon.services.imports.imports import ImportState


class ImportErrorMode(msgspec.Struct, rename="camel"):
    """What happens at a row that cannot be imported: abort stops, continue leaves it out."""

    on_error: str = "abort"


class StartImportRequest(msgspec.Struct, rename="camel"):
    """POST /bulk/imports. integration_id: of the hosted service; it is ignored."""

    uri: str
    integration_id: str | None = None
    error_mode: ImportErrorMode = msgspec.field(default_factory=ImportErrorMode)


class StartImportResponse(msgspec.Struct):
    """The id of an import that has begun."""

    id: str


class ImportModel(msgspec.Struct, rename="camel", omit_defaults=True):
    """An import. error: why it failed, waits or is paused, or what it has left out."""

    id: str
    uri: str
    status: str
    created_at: str
    percent_complete: float
    records_imported: int
    finished_at: str | None = None
    error: str | None = None


class ListImportsResponse(msgspec.Struct, omit_defaults=True):
    """A page of imports."""

    data: list[ImportModel]
    pagination: Pagination | None = None


def described(state: ImportState) -> ImportModel:
    """The description of an import."""
    job = state.job
    progress = job.progress
    return ImportModel(
        job.id,
        job.uri,
        job.status,
        job.created_at,
        round(progress.percent, 2),
        progress.imported,
        job.finished_at,
        state.reason,
    )
