"""The records routes. They decode requests, call the service and encode responses."""

import msgspec
from litestar import Response, Router, post
from litestar.di import NamedDependency
from litestar.params import FromPath, RawBody
from litestar.types import ASGIApp

from pinyon.api.headers import model_headers, read_headers, write_headers
from pinyon.api.rest.bodies import decode_body, decode_records
from pinyon.api.rest.json_response import JsonResponse
from pinyon.api.rest.paths import name_in_path
from pinyon.api.rest.schemas import record_schemas
from pinyon.domain import Index
from pinyon.errors import InvalidArgument
from pinyon.services.control_plane import mix_rules
from pinyon.services.data_plane.facets import Facets
from pinyon.services.data_plane.records.records import Records
from pinyon.services.data_plane.records.reranking import Rerank
from pinyon.services.data_plane.records.searches import Search
from pinyon.settings import LimitSettings


@post("/{namespace:str}/upsert", status_code=201, operation_id="upsertRecordsNamespace")
async def upsert_records(
    namespace: FromPath[str],
    body: RawBody,
    index: NamedDependency[Index],
    records: NamedDependency[Records],
    limits: NamedDependency[LimitSettings],
) -> Response[bytes]:
    """Embed and store the records of an NDJSON body, all or none."""
    limits.check_body(len(body))
    result = await records.upsert(index, name_in_path(namespace), decode_records(body))
    headers = {**write_headers(result.lsn), **model_headers(result.models, result.truncated, result.foreign)}
    return Response(b"", status_code=201, headers=headers)


@post("/{namespace:str}/search", status_code=200, operation_id="searchRecordsNamespace")
async def search_records(
    namespace: FromPath[str],
    body: RawBody,
    index: NamedDependency[Index],
    records: NamedDependency[Records],
) -> ASGIApp:
    """Search a namespace by text, vector or id, and rerank the hits."""
    search = _search(decode_body(body, record_schemas.SearchRecordsRequest))
    result = await records.search(index, name_in_path(namespace), search)
    usage = record_schemas.SearchUsage(result.usage.read_units, result.usage.embed_tokens, result.usage.rerank_units)
    hits = [record_schemas.Hit(id=hit.id, score=hit.score, fields=hit.metadata) for hit in result.hits]
    answer = record_schemas.SearchRecordsResponse(record_schemas.SearchResult(hits), usage)
    headers = read_headers(result.lsn) | model_headers(result.models, result.truncated, result.foreign)
    return JsonResponse(msgspec.json.encode(answer), headers)


@post("/{namespace:str}/facets", status_code=200, operation_id="pinyon_count_facets")
async def count_facets(
    namespace: FromPath[str],
    body: RawBody,
    index: NamedDependency[Index],
    facets: NamedDependency[Facets],
) -> Response[record_schemas.FacetsResponse]:
    """Count the records of a namespace by the values of a field."""
    data = decode_body(body, record_schemas.FacetsRequest)
    counted = await facets.count(index, name_in_path(namespace), data.field, data.filter, data.limit)
    values = [record_schemas.FacetValue(facet.value, facet.count) for facet in counted.facets]
    answer = record_schemas.FacetsResponse(data.field, values, counted.distinct, counted.records, counted.missing)
    return Response(answer, headers=read_headers(counted.lsn))


def _search(data: record_schemas.SearchRecordsRequest) -> Search:
    query, rerank = data.query, data.rerank
    terms = query.match_terms
    if terms is not None and terms.strategy != "all":
        raise InvalidArgument(f"match_terms.strategy must be 'all', got '{terms.strategy[:80]}'")
    return Search(
        top_k=query.top_k,
        text=query.inputs.text if query.inputs else None,
        vector=query.vector.values if query.vector else None,
        sparse=_sparse(query.vector) if query.vector else None,
        id=query.id,
        filter=query.filter,
        match_terms=terms.terms if terms else None,
        retrieval=query.inputs.retrieval if query.inputs else None,
        mix=mix_rules.mix(query.inputs.mix) if query.inputs else None,
        min_score=query.inputs.min_score if query.inputs else None,
        group_by=query.inputs.group_by if query.inputs else None,
        group_size=query.inputs.group_size if query.inputs else None,
        explain=query.inputs.explain if query.inputs else False,
        fields=data.fields,
        rerank=Rerank(rerank.model, rerank.rank_fields, rerank.top_n, rerank.query, rerank.parameters)
        if rerank
        else None,
    )


def _sparse(vector: record_schemas.SearchRecordsVector) -> tuple[list[int], list[float]] | None:
    if vector.sparse_indices is None and vector.sparse_values is None:
        return None
    return vector.sparse_indices or [], vector.sparse_values or []


router = Router("/records/namespaces", route_handlers=[upsert_records, search_records, count_facets])
