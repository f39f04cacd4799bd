"""The OpenAPI document that the service publishes: Pinecone's operation ids and schema names, our own shapes.

One table of operations; the schemas come from the Structs that decode and encode.
"""

from typing import Any

import msgspec
from litestar import get

from app.api.rest import schemas
from app.api.rest import vector_schemas as vectors

VERSION = "2025-10"


class Operation(msgspec.Struct, frozen=True):
    """One route. takes: the body's shape; gives: the answer's, or None for an empty one."""

    method: str
    path: str
    id: str
    takes: Any = None
    gives: Any = None
    status: int = 200
    ndjson: bool = False
    query: tuple[str, ...] = ()


OPERATIONS = [
    Operation("post", "/records/namespaces/{namespace}/upsert", "upsertRecordsNamespace", status=201, ndjson=True),
    Operation(
        "post",
        "/records/namespaces/{namespace}/search",
        "searchRecordsNamespace",
        schemas.SearchRecordsRequest,
        schemas.SearchRecordsResponse,
    ),
    Operation("post", "/vectors/upsert", "upsertVectors", vectors.UpsertRequest, vectors.UpsertResponse),
    Operation("post", "/query", "queryVectors", vectors.QueryRequest, vectors.QueryResponse),
    Operation("get", "/vectors/fetch", "fetchVectors", None, vectors.FetchResponse, query=("ids", "namespace")),
    Operation(
        "post",
        "/vectors/fetch_by_metadata",
        "fetch_vectors_by_metadata",
        vectors.FetchByMetadataRequest,
        vectors.FetchByMetadataResponse,
    ),
    Operation(
        "get",
        "/vectors/list",
        "listVectors",
        None,
        vectors.ListResponse,
        query=("prefix", "limit", "paginationToken", "namespace"),
    ),
    Operation("post", "/vectors/update", "updateVector", vectors.UpdateRequest, vectors.UpdateResponse),
    Operation("post", "/vectors/delete", "deleteVectors", vectors.DeleteRequest, vectors.DeleteResponse),
    Operation(
        "post",
        "/describe_index_stats",
        "describeIndexStats",
        vectors.DescribeIndexStatsRequest,
        vectors.IndexDescription,
    ),
    Operation(
        "get",
        "/namespaces",
        "listNamespacesOperation",
        None,
        vectors.ListNamespacesResponse,
        query=("prefix", "limit", "paginationToken"),
    ),
    Operation("post", "/namespaces", "createNamespace", vectors.CreateNamespaceRequest, vectors.NamespaceDescription),
    Operation("get", "/namespaces/{namespace}", "describeNamespace", None, vectors.NamespaceDescription),
    Operation("delete", "/namespaces/{namespace}", "deleteNamespace", None, vectors.DeleteResponse),
]
PARAMETERS: dict[str, dict[str, Any]] = {
    "ids": {"required": True, "schema": {"type": "array", "items": {"type": "string"}}, "explode": True},
    "limit": {"schema": {"type": "integer", "minimum": 1, "maximum": 100}},
    "namespace": {"schema": {"type": "string"}},
    "prefix": {"schema": {"type": "string"}},
    "paginationToken": {"schema": {"type": "string"}},
}
PUBLISHED = {"RpcStatus": "rpcStatus", "ReadUsage": "Usage", "FetchedVector": "Vector", "StoredSparse": "SparseValues"}
"""Structs whose published name is another: what is answered has the shape of what is asked, encoded differently."""


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    shapes = [shape for one in OPERATIONS for shape in (one.takes, one.gives) if shape is not None]
    _, components = msgspec.json.schema_components(
        [*shapes, schemas.UpsertRecord, schemas.RpcStatus], ref_template="#/components/schemas/{name}"
    )
    # The shape that decodes says more than the one that encodes raw text: it wins where both have one name.
    named = {PUBLISHED.get(name, name): _renamed(schema) for name, schema in sorted(components.items(), key=_last)}
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pinyon: the data plane", "version": VERSION},
        "paths": paths,
        "components": {"schemas": named},
    }


def _last(item: tuple[str, Any]) -> tuple[bool, str]:
    return item[0] not in PUBLISHED, item[0]


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _published(inner) if key == "$ref" else _renamed(inner)
            for key, inner in value.items()
            if key != "title" or not isinstance(inner, str)
        }
    return [_renamed(inner) for inner in value] if isinstance(value, list) else value


def _published(reference: str) -> str:
    prefix, _, name = reference.rpartition("/")
    return f"{prefix}/{PUBLISHED.get(name, name)}"


def _operation(one: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": one.id, "parameters": []}
    if "{namespace}" in one.path:
        found["parameters"].append(
            {"in": "path", "name": "namespace", "required": True, "schema": {"type": "string", "minLength": 1}}
        )
    found["parameters"] += [{"in": "query", "name": name, **PARAMETERS[name]} for name in one.query]
    if one.ndjson:
        records = {"type": "array", "items": _reference(schemas.UpsertRecord)}
        content = {"application/x-ndjson": {"schema": records}}
        found["requestBody"] = {"required": True, "content": content}
    elif one.takes is not None:
        found["requestBody"] = {"required": True, "content": _json(_reference(one.takes))}
    good: dict[str, Any] = {"description": "Done"}
    if one.gives is not None:
        good["content"] = _json(_reference(one.gives))
    refused = {"description": "Refused, with the reason", "content": _json(_reference(schemas.RpcStatus))}
    found["responses"] = {str(one.status): good, "4XX": refused, "5XX": refused}
    return found


def _reference(shape: Any) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{PUBLISHED.get(shape.__name__, shape.__name__)}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


@get("/openapi.json", operation_id="openapi")
async def openapi() -> dict[str, Any]:
    """The document itself."""
    return document()
