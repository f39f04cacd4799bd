"""The routes that say which rows of an upsert would be refused. Extensions of Pinyon."""

import msgspec
from litestar import Router, post
from litestar.di import NamedDependency
from litestar.params import RawBody

from pinyon.api.rest.bodies import decode_records, decode_vector_body
from pinyon.api.rest.routes.vectors import raw_vectors
from pinyon.api.rest.schemas import vector_schemas
from pinyon.domain import Index
from pinyon.services.data_plane.upsert_checks import Refused, UpsertChecks


class CheckResponse(msgspec.Struct, frozen=True):
    """The rows that an upsert would refuse."""

    refused: list[Refused]


@post("/vectors/check", status_code=200, operation_id="pinyon_check_vectors")
async def check_vectors(
    body: RawBody, index: NamedDependency[Index], checks: NamedDependency[UpsertChecks]
) -> CheckResponse:
    """Check the body of an upsert of vectors, and store nothing."""
    data = decode_vector_body(body, vector_schemas.UpsertRequest)
    return CheckResponse(checks.vectors(index, raw_vectors(data)))


@post("/records/check", status_code=200, operation_id="pinyon_check_records")
async def check_records(
    body: RawBody, index: NamedDependency[Index], checks: NamedDependency[UpsertChecks]
) -> CheckResponse:
    """Check the NDJSON body of an upsert of records, and store nothing."""
    return CheckResponse(checks.texts(index, decode_records(body)))


router = Router("/", route_handlers=[check_vectors, check_records])
