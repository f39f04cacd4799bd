"""The routes for indexes, and for collections, which serverless indexes do not have."""

import re
import secrets
from typing import Any, TypeVar, cast

from litestar import Request, Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, RawBody

from pinyon.api.rest.bodies import decode_body
from pinyon.api.rest.schemas import control_schemas as schemas
from pinyon.domain import Index
from pinyon.errors import InvalidArgument, NotFound, Unprocessable
from pinyon.inference.catalog import Catalog
from pinyon.services.control_plane import index_rules
from pinyon.services.control_plane.indexes import Indexes

T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]
_JAVA = re.compile(r"\blang=java\b", re.IGNORECASE)
_VERSION = re.compile(r"\A\d{4}-\d{2}")


def api_version(request: AnyRequest) -> str:
    """The API version of the client. "" if it sends none; it then gets the old shapes."""
    version = request.headers.get("x-pinecone-api-version", "")
    return version if _VERSION.match(version) else ""


def decode(request: AnyRequest, body: bytes, shape: type[T]) -> T:
    """The body of a request that has a deletion_protection. Raises Unprocessable, or InvalidArgument for that."""
    try:
        data: Any = decode_body(body, shape)
    except InvalidArgument as error:
        raise Unprocessable(f"Failed to deserialize the JSON body into the target type: {error.message}") from None
    schemas.check_protection(data.deletion_protection, api_version(request))
    return cast(T, data)


def _described(request: AnyRequest, indexes: Indexes, index: Index) -> dict[str, Any]:
    # Without https, as Pinecone returns it; clients add the scheme themselves.
    host = indexes.url(index, request.headers.get("host")).removeprefix("https://")
    if _JAVA.search(request.headers.get("user-agent", "")):  # this client always adds its own scheme
        host = host.removeprefix("http://")
    return schemas.described(index, host, indexes.state(index), api_version(request))


@get("/indexes", operation_id="list_indexes")
async def list_indexes(request: AnyRequest, indexes: NamedDependency[Indexes]) -> dict[str, Any]:
    """All indexes."""
    return {"indexes": [_described(request, indexes, index) for index in indexes.all()]}


@post("/indexes", status_code=201, operation_id="create_index")
async def create_index(request: AnyRequest, body: RawBody, indexes: NamedDependency[Indexes]) -> dict[str, Any]:
    """Create an index for vectors that the caller brings."""
    if api_version(request) >= schemas.FIRST_WITH_SCHEMAS:
        new = decode(request, body, schemas.CreateIndexWithSchema)
        spec = index_rules.plain(new.name or f"index-{secrets.token_hex(4)}", *new.vectors(), indexes.max_dimension)
        return _described(request, indexes, await indexes.create(spec, new.options()))
    data = decode(request, body, schemas.CreateIndexRequest)
    spec = index_rules.plain(data.name, data.vector_type or "dense", data.dimension, data.metric, indexes.max_dimension)
    return _described(request, indexes, await indexes.create(spec, data.options()))


@post("/indexes/create-for-model", status_code=201, operation_id="create_index_for_model")
async def create_index_for_model(
    request: AnyRequest, body: RawBody, indexes: NamedDependency[Indexes], catalog: NamedDependency[Catalog]
) -> dict[str, Any]:
    """Create an index that embeds text with a model."""
    data = decode(request, body, schemas.CreateIndexForModelRequest)
    embed = data.embed
    spec = index_rules.integrated(
        catalog,
        data.name,
        embed.model,
        embed.field_map,
        embed.dimension,
        embed.metric,
        embed.read_parameters,
        embed.write_parameters,
    )
    return _described(request, indexes, await indexes.create(spec, data.options()))


@get("/indexes/{index_name:str}", operation_id="describe_index")
async def describe_index(
    request: AnyRequest, index_name: FromPath[str], indexes: NamedDependency[Indexes]
) -> dict[str, Any]:
    """One index."""
    return _described(request, indexes, indexes.shown(index_name))


@patch("/indexes/{index_name:str}", status_code=200, operation_id="configure_index")
async def configure_index(
    request: AnyRequest, index_name: FromPath[str], body: RawBody, indexes: NamedDependency[Indexes]
) -> dict[str, Any]:
    """Change an index. The status is 200 in every version, because Go's client treats 202 as a failure."""
    indexes.check_controls(index_name)  # before the body is checked: an unknown index is NotFound in any case
    index = await indexes.configure(index_name, decode(request, body, schemas.ConfigureIndexRequest).change())
    return _described(request, indexes, index)


@delete("/indexes/{index_name:str}", status_code=202, operation_id="delete_index")
async def delete_index(index_name: FromPath[str], indexes: NamedDependency[Indexes]) -> Response[bytes]:
    """Delete an index with all its records."""
    await indexes.delete(index_name)
    return Response(b"", status_code=202)


@get("/collections", operation_id="list_collections")
async def list_collections() -> dict[str, Any]:
    """An empty list: collections are copies of pod indexes."""
    return {"collections": []}


@post("/collections", operation_id="create_collection")
async def create_collection() -> None:
    """Always refused, as on the hosted service."""
    raise InvalidArgument("Cannot create collections from serverless indexes")


@get("/collections/{collection_name:str}", operation_id="describe_collection")
async def describe_collection(collection_name: FromPath[str]) -> None:
    """Always NotFound."""
    raise NotFound(f"Collection {collection_name} not found.")


@delete("/collections/{collection_name:str}", status_code=202, operation_id="delete_collection")
async def delete_collection(collection_name: FromPath[str]) -> None:
    """Always NotFound."""
    raise NotFound(f"Collection {collection_name} not found.")


router = Router(
    "/",
    route_handlers=[
        list_indexes,
        create_index,
        create_index_for_model,
        describe_index,
        configure_index,
        delete_index,
        list_collections,
        create_collection,
        describe_collection,
        delete_collection,
    ],
)
