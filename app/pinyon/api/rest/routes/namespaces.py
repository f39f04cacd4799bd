"""The namespace routes. They decode requests, call the service and encode responses."""

from typing import Annotated, Any

import msgspec
from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.exceptions import MethodNotAllowedException
from litestar.params import FromPath, QueryParameter, RawBody

from pinyon.api.headers import write_headers
from pinyon.api.rest.bodies import decode_body, whole_number
from pinyon.api.rest.paths import name_in_path
from pinyon.api.rest.schemas import vector_schemas as schemas
from pinyon.domain import Index, NamespaceInfo
from pinyon.errors import InvalidArgument
from pinyon.services.data_plane.namespaces import Namespaces


@get("/", operation_id="listNamespacesOperation")
async def list_namespaces(
    index: NamedDependency[Index],
    namespaces: NamedDependency[Namespaces],
    prefix: Annotated[str | None, QueryParameter()] = None,
    limit: Annotated[str | None, QueryParameter()] = None,
    pagination_token: Annotated[str | None, QueryParameter(name="paginationToken")] = None,
) -> schemas.ListNamespacesResponse:
    """A page of namespaces."""
    page = await namespaces.list(index, prefix, whole_number(limit, "limit"), pagination_token)
    return schemas.ListNamespacesResponse(
        [_description(info) for info in page.namespaces],
        page.total,
        schemas.Pagination(page.next) if page.next else None,
    )


@post("/", status_code=200, operation_id="createNamespace")
async def create_namespace(
    body: RawBody, index: NamedDependency[Index], namespaces: NamedDependency[Namespaces]
) -> Response[schemas.NamespaceDescription]:
    """Create an empty namespace."""
    data = decode_body(body, schemas.CreateNamespaceRequest)
    schema = msgspec.to_builtins(data.schema) if data.schema else None
    info, lsn = await namespaces.create(index, data.name, schema)
    return Response(_description(info), headers=write_headers(lsn))


@get("/{namespace:str}", operation_id="describeNamespace")
async def describe_namespace(
    namespace: FromPath[str], index: NamedDependency[Index], namespaces: NamedDependency[Namespaces]
) -> schemas.NamespaceDescription:
    """One namespace."""
    return _description(await namespaces.describe(index, name_in_path(namespace)))


@post("/{namespace:str}", operation_id="documents")
async def documents(namespace: FromPath[str]) -> None:
    """Refuse the Documents API. Its paths begin like those of a namespace."""
    if "/documents/" in name_in_path(namespace):
        raise InvalidArgument("The Documents API is not supported; this index has vectors and records")
    raise MethodNotAllowedException(headers={"Allow": "DELETE, GET"})


@delete("/{namespace:str}", status_code=200, operation_id="deleteNamespace")
async def delete_namespace(
    namespace: FromPath[str], index: NamedDependency[Index], namespaces: NamedDependency[Namespaces]
) -> Response[dict[str, Any]]:
    """Delete a namespace with its records."""
    lsn = await namespaces.delete(index, name_in_path(namespace))
    return Response({}, headers=write_headers(lsn))


def _description(info: NamespaceInfo) -> schemas.NamespaceDescription:
    fields = schemas.IndexedFields(list(info.schema["fields"])) if info.schema else None
    return schemas.NamespaceDescription(info.name, info.record_count, info.schema, fields)


router = Router(
    "/namespaces", route_handlers=[list_namespaces, create_namespace, documents, describe_namespace, delete_namespace]
)
