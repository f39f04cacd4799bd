"""The OpenAPI document of the service. Operation ids and schema names are Pinecone's.

It is made from one table of operations, and from the Structs that decode requests and encode responses.
"""

import re
from typing import Any

import msgspec
from litestar import get

from pinyon.api.rest.errors import CONTROL_PLANE
from pinyon.api.rest.schemas import control_schemas as control
from pinyon.api.rest.schemas import import_schemas as imports
from pinyon.api.rest.schemas import record_schemas
from pinyon.api.rest.schemas import vector_schemas as vectors

VERSION = "2025-10"


class Operation(msgspec.Struct, frozen=True):
    """One route. request: the Struct of the body. response: the Struct or schema of the response; None if it is empty.

    status: of success. ndjson: the body is NDJSON. query: parameters of the query string. links: operations that use
    the `name` in the response, and the parameter that takes it.
    """

    method: str
    path: str
    id: str
    request: Any = None
    response: Any = None
    status: int = 200
    ndjson: bool = False
    query: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()

    @property
    def error(self) -> Any:
        """The Struct of its errors."""
        control = f"/{self.path.split('/')[1]}" in CONTROL_PLANE
        return record_schemas.ErrorResponse if control else record_schemas.RpcStatus


INDEX = {
    "type": "object",
    "required": ["name", "metric", "host", "spec", "status", "deletion_protection"],
    "properties": {
        "name": {"type": "string"},
        "metric": {"enum": ["cosine", "dotproduct", "euclidean"]},
        "dimension": {"type": "integer"},
        "vector_type": {"enum": ["dense", "sparse"]},
        "host": {"type": "string"},
        "spec": {"type": "object"},
        "status": {"type": "object", "required": ["ready", "state"]},
        "tags": {"type": ["object", "null"]},
        "embed": {"type": "object"},
    },
}
"""The description of an index in this API version. Clients that ask for another version get another shape."""
LIST = {"type": "object", "required": ["indexes"], "properties": {"indexes": {"type": "array", "items": INDEX}}}
INDEX_LINKS = (("describe_index", "index_name"), ("configure_index", "index_name"), ("delete_index", "index_name"))
NAMESPACE_LINKS = (("describeNamespace", "namespace"), ("deleteNamespace", "namespace"))

OPERATIONS = [
    Operation("post", "/records/namespaces/{namespace}/upsert", "upsertRecordsNamespace", status=201, ndjson=True),
    Operation(
        "post",
        "/records/namespaces/{namespace}/search",
        "searchRecordsNamespace",
        record_schemas.SearchRecordsRequest,
        record_schemas.SearchRecordsResponse,
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
    Operation(
        "post",
        "/namespaces",
        "createNamespace",
        vectors.CreateNamespaceRequest,
        vectors.NamespaceDescription,
        links=NAMESPACE_LINKS,
    ),
    Operation("get", "/namespaces/{namespace}", "describeNamespace", None, vectors.NamespaceDescription),
    Operation("delete", "/namespaces/{namespace}", "deleteNamespace", None, vectors.DeleteResponse),
    Operation("post", "/bulk/imports", "startBulkImport", imports.StartImportRequest, imports.StartImportResponse),
    Operation(
        "get", "/bulk/imports", "listBulkImports", None, imports.ListImportsResponse, query=("limit", "paginationToken")
    ),
    Operation("get", "/bulk/imports/{id}", "describeBulkImport", None, imports.ImportModel),
    Operation("delete", "/bulk/imports/{id}", "cancelBulkImport", None, vectors.DeleteResponse),
    Operation("get", "/indexes", "list_indexes", None, LIST),
    Operation("post", "/indexes", "create_index", control.CreateIndexRequest, INDEX, status=201, links=INDEX_LINKS),
    Operation(
        "post",
        "/indexes/create-for-model",
        "create_index_for_model",
        control.CreateIndexForModelRequest,
        INDEX,
        status=201,
        links=INDEX_LINKS,
    ),
    Operation("get", "/indexes/{index_name}", "describe_index", None, INDEX),
    Operation("patch", "/indexes/{index_name}", "configure_index", control.ConfigureIndexRequest, INDEX, status=202),
    Operation("delete", "/indexes/{index_name}", "delete_index", status=202),
    Operation("post", "/embed", "embed", record_schemas.EmbedRequest, record_schemas.EmbeddingsList),
    Operation("post", "/rerank", "rerank", record_schemas.RerankRequest, record_schemas.RerankResult),
    Operation("get", "/models", "list_models", None, record_schemas.ModelInfoList, query=("type", "vector_type")),
    Operation("get", "/models/{model_name}", "get_model", None, record_schemas.ModelInfo),
]
PARAMETERS: dict[str, dict[str, Any]] = {
    "ids": {"required": True, "schema": {"type": "array", "items": {"type": "string"}}, "explode": True},
    "limit": {"schema": {"type": "integer", "minimum": 1, "maximum": 100}},
    "namespace": {"schema": {"type": "string"}},
    "prefix": {"schema": {"type": "string"}},
    "type": {"schema": {"enum": ["embed", "rerank"]}},
    "vector_type": {"schema": {"enum": ["dense", "sparse"]}},
    "paginationToken": {"schema": {"type": "string"}},
}
PUBLISHED = {"RpcStatus": "rpcStatus", "ReadUsage": "Usage", "FetchedVector": "Vector", "StoredSparse": "SparseValues"}
"""Published names of Structs that differ. Some of these encode a shape that another Struct decodes."""


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    shapes = [shape for one in OPERATIONS for shape in (one.request, one.response) if isinstance(shape, type)]
    _, components = msgspec.json.schema_components(
        [*shapes, record_schemas.UpsertRecord, record_schemas.RpcStatus, record_schemas.ErrorResponse],
        ref_template="#/components/schemas/{name}",
    )
    # Of two Structs with the same published name, the one that decodes is used, because it describes the values.
    named = {PUBLISHED.get(name, name): _renamed(schema) for name, schema in sorted(components.items(), key=_last)}
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pinyon", "version": VERSION},
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


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.id, "parameters": []}
    for name in re.findall(r"{(\w+)}", operation.path):
        described["parameters"].append(
            {"in": "path", "name": name, "required": True, "schema": {"type": "string", "minLength": 1}}
        )
    described["parameters"] += [{"in": "query", "name": name, **PARAMETERS[name]} for name in operation.query]
    if operation.ndjson:
        records = {"type": "array", "items": _reference(record_schemas.UpsertRecord)}
        content = {"application/x-ndjson": {"schema": records}}
        described["requestBody"] = {"required": True, "content": content}
    elif operation.request is not None:
        described["requestBody"] = {"required": True, "content": _json(_reference(operation.request))}
    success: dict[str, Any] = {"description": "Success"}
    if operation.response is not None:
        is_struct = isinstance(operation.response, type)
        success["content"] = _json(_reference(operation.response) if is_struct else operation.response)
    if operation.links:
        success["links"] = {
            target: {"operationId": target, "parameters": {name: "$response.body#/name"}}
            for target, name in operation.links
        }
    error = {"description": "Error, with the reason", "content": _json(_reference(operation.error))}
    described["responses"] = {str(operation.status): success, "4XX": error, "5XX": error}
    return described


def _reference(shape: Any) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{PUBLISHED.get(shape.__name__, shape.__name__)}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


@get("/openapi.json", operation_id="openapi")
async def openapi() -> dict[str, Any]:
    """The OpenAPI document."""
    return document()
