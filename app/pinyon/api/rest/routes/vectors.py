"""The vector routes. They decode requests, call the service and encode responses."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter, RawBody
from litestar.types import ASGIApp

from pinyon.api.headers import read_headers, write_headers
from pinyon.api.rest.bodies import decode_vector_body, whole_number
from pinyon.api.rest.json_response import JsonResponse
from pinyon.api.rest.schemas import vector_schemas as schemas
from pinyon.domain import DEFAULT_NAMESPACE, Index, Record
from pinyon.services.data_plane.vectors import FetchResult, RawQuery, RawVector, Vectors

FIRST_VERSION_WITH_DEFAULT = "2025-04"
"""From this API version on, the statistics give the default namespace its name; before, the empty string."""

OptionalText = Annotated[str | None, QueryParameter()]


def raw_vectors(data: schemas.UpsertRequest) -> list[RawVector]:
    """The vectors of an upsert as the service takes them."""
    return [
        RawVector(v.id, v.values, v.sparse_values.pair() if v.sparse_values else None, v.metadata) for v in data.vectors
    ]


@post("/vectors/upsert", status_code=200, operation_id="upsertVectors")
async def upsert_vectors(
    body: RawBody,
    index: NamedDependency[Index],
    vectors: NamedDependency[Vectors],
) -> ASGIApp:
    """Store vectors, all or none."""
    data = decode_vector_body(body, schemas.UpsertRequest)
    count, lsn = await vectors.upsert(index, data.namespace, raw_vectors(data))
    return JsonResponse(msgspec.json.encode(schemas.UpsertResponse(count)), write_headers(lsn))


@post("/query", status_code=200, operation_id="queryVectors")
async def query_vectors(
    body: RawBody,
    index: NamedDependency[Index],
    vectors: NamedDependency[Vectors],
) -> ASGIApp:
    """The nearest vectors."""
    data = decode_vector_body(body, schemas.QueryRequest)
    sparse = data.sparse_vector.pair() if data.sparse_vector else None
    raw = RawQuery(
        data.top_k, data.vector, sparse, data.id or None, data.filter, data.include_values, data.include_metadata
    )
    result = await vectors.query(index, data.namespace, raw)
    matches = [
        schemas.ScoredVector(
            match.id,
            match.score,
            schemas.numbers(match.vector),
            schemas.stored_sparse(match.sparse),
            (match.metadata if data.include_metadata else None) or msgspec.UNSET,
        )
        for match in result.matches
    ]
    answer = schemas.QueryResponse(matches, data.namespace, schemas.ReadUsage(result.read_units))
    return JsonResponse(msgspec.json.encode(answer), read_headers(result.lsn))


@get("/vectors/fetch", operation_id="fetchVectors")
async def fetch_vectors(
    index: NamedDependency[Index],
    vectors: NamedDependency[Vectors],
    ids: Annotated[list[str] | None, QueryParameter()] = None,
    namespace: OptionalText = None,
) -> ASGIApp:
    """Vectors by id."""
    result = await vectors.fetch(index, namespace or "", ids or [])
    answer = schemas.FetchResponse(_by_id(result), namespace or "", schemas.ReadUsage(result.read_units))
    return JsonResponse(msgspec.json.encode(answer), read_headers(result.lsn))


@post("/vectors/fetch_by_metadata", status_code=200, operation_id="fetch_vectors_by_metadata")
async def fetch_by_metadata(
    body: RawBody,
    index: NamedDependency[Index],
    vectors: NamedDependency[Vectors],
) -> ASGIApp:
    """A page of the vectors that match a filter."""
    data = decode_vector_body(body, schemas.FetchByMetadataRequest)
    result = await vectors.fetch_by_metadata(index, data.namespace, data.filter, data.limit, data.pagination_token)
    answer = schemas.FetchByMetadataResponse(
        _by_id(result),
        data.namespace,
        schemas.ReadUsage(result.read_units),
        schemas.Pagination(result.next) if result.next else None,
    )
    return JsonResponse(msgspec.json.encode(answer), read_headers(result.lsn))


def _by_id(result: FetchResult) -> dict[str, schemas.FetchedVector]:
    return {record.id: _stored(record) for record in result.records}


def _stored(record: Record) -> schemas.FetchedVector:
    return schemas.FetchedVector(
        record.id,
        values=schemas.numbers(record.vector),
        sparse_values=schemas.stored_sparse(record.sparse),
        metadata=record.metadata or msgspec.UNSET,
    )


@get("/vectors/list", operation_id="listVectors")
async def list_vectors(
    index: NamedDependency[Index],
    vectors: NamedDependency[Vectors],
    prefix: OptionalText = None,
    limit: OptionalText = None,
    pagination_token: Annotated[str | None, QueryParameter(name="paginationToken")] = None,
    namespace: OptionalText = None,
) -> Response[schemas.ListResponse]:
    """A page of ids."""
    result = await vectors.list(index, namespace or "", prefix, whole_number(limit, "limit"), pagination_token)
    answer = schemas.ListResponse(
        [schemas.ListItem(record.id) for record in result.records],
        namespace or "",
        schemas.ReadUsage(result.read_units),
        schemas.Pagination(result.next) if result.next else None,
    )
    return Response(answer, headers=read_headers(result.lsn))


@post("/vectors/update", status_code=200, operation_id="updateVector")
async def update_vector(
    body: RawBody, index: NamedDependency[Index], vectors: NamedDependency[Vectors]
) -> Response[schemas.UpdateResponse]:
    """Change one record, or the fields of the records that match a filter."""
    data = decode_vector_body(body, schemas.UpdateRequest)
    sparse = data.sparse_values.pair() if data.sparse_values else None
    raw = RawVector(data.id, data.values, sparse, data.set_metadata)
    matched, lsn = await vectors.update(index, data.namespace, data.id or None, raw, data.filter, data.dry_run)
    answer = schemas.UpdateResponse(matched if data.filter is not None else None)
    return Response(answer, headers={} if data.dry_run else write_headers(lsn))


async def _delete(body: bytes, index: Index, vectors: Vectors) -> Response[dict[str, Any]]:
    data = decode_vector_body(body, schemas.DeleteRequest)
    lsn = await vectors.delete(index, data.namespace, data.ids, data.filter, data.delete_all)
    return Response({}, status_code=200, headers=write_headers(lsn))


@post("/vectors/delete", status_code=200, operation_id="deleteVectors")
async def delete_vectors(
    body: RawBody, index: NamedDependency[Index], vectors: NamedDependency[Vectors]
) -> Response[dict[str, Any]]:
    """Delete by ids, by filter, or everything."""
    return await _delete(body, index, vectors)


@delete("/vectors/delete", status_code=200, operation_id="deleteVectorsByDelete")
async def delete_vectors_by_delete(
    body: RawBody, index: NamedDependency[Index], vectors: NamedDependency[Vectors]
) -> Response[dict[str, Any]]:
    """Delete, with the HTTP method DELETE."""
    return await _delete(body, index, vectors)


async def _stats(
    request: Request[Any, Any, Any], body: bytes, index: Index, vectors: Vectors
) -> schemas.IndexDescription:
    data = decode_vector_body(body, schemas.DescribeIndexStatsRequest)
    spec, namespaces = await vectors.stats(index, data.filter)
    version = request.headers.get("x-pinecone-api-version", FIRST_VERSION_WITH_DEFAULT)
    old = version < FIRST_VERSION_WITH_DEFAULT
    return schemas.IndexDescription(
        namespaces={
            "" if old and info.name == DEFAULT_NAMESPACE else info.name: schemas.NamespaceSummary(
                info.record_count,
                msgspec.UNSET if spec.embed is None else info.truncated,
                info.foreign or msgspec.UNSET,
            )
            for info in namespaces
        },
        index_fullness=0.0,
        total_vector_count=sum(namespace.record_count for namespace in namespaces),
        metric=spec.metric,
        vector_type="sparse" if spec.sparse else "dense",
        dimension=msgspec.UNSET if spec.sparse else spec.dimension,
    )


@post("/describe_index_stats", status_code=200, operation_id="describeIndexStats")
async def describe_index_stats(
    request: Request[Any, Any, Any], body: RawBody, index: NamedDependency[Index], vectors: NamedDependency[Vectors]
) -> schemas.IndexDescription:
    """Describe the index, and count the records of each namespace."""
    return await _stats(request, body, index, vectors)


@get("/describe_index_stats", operation_id="describeIndexStatsByGet")
async def describe_index_stats_by_get(
    request: Request[Any, Any, Any], index: NamedDependency[Index], vectors: NamedDependency[Vectors]
) -> schemas.IndexDescription:
    """Describe the index, with the HTTP method GET."""
    return await _stats(request, b"", index, vectors)


router = Router(
    "/",
    route_handlers=[
        upsert_vectors,
        query_vectors,
        fetch_vectors,
        fetch_by_metadata,
        list_vectors,
        update_vector,
        delete_vectors,
        delete_vectors_by_delete,
        describe_index_stats,
        describe_index_stats_by_get,
    ],
)
