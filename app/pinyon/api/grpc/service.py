"""Pinecone's VectorService: decodes requests, calls the services, encodes replies. The rules are in the services."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

from pinyon.api.grpc import packed_floats, structs
from pinyon.api.grpc import requests_pb2 as requests
from pinyon.api.grpc import vector_service_pb2 as pb
from pinyon.api.headers import read_headers, write_headers
from pinyon.domain import Index, NamespaceInfo, Record, SparseVector
from pinyon.errors import InvalidArgument
from pinyon.services.data_plane.namespaces import Namespaces
from pinyon.services.data_plane.vectors import RawQuery, RawVector, Vectors

Reply = tuple[Message, Mapping[str, str]]
"""The reply, and headers with sequence numbers."""
Method = Callable[[Index, Any], Awaitable[Reply]]
"""A method. It takes the index and the request."""


class VectorService:
    """methods: every method by its name, with the class of its request."""

    def __init__(self, vectors: Vectors, namespaces: Namespaces) -> None:
        self._vectors, self._namespaces = vectors, namespaces
        self.methods: dict[str, tuple[type[Message], Method]] = {
            "Upsert": (requests.UpsertRequest, self.upsert),
            "Delete": (requests.DeleteRequest, self.delete),
            "Fetch": (pb.FetchRequest, self.fetch),
            "FetchByMetadata": (requests.FetchByMetadataRequest, self.fetch_by_metadata),
            "List": (pb.ListRequest, self.list),
            "Query": (requests.QueryRequest, self.query),
            "Update": (requests.UpdateRequest, self.update),
            "DescribeIndexStats": (requests.DescribeIndexStatsRequest, self.describe_index_stats),
            "ListNamespaces": (pb.ListNamespacesRequest, self.list_namespaces),
            "DescribeNamespace": (pb.DescribeNamespaceRequest, self.describe_namespace),
            "CreateNamespace": (pb.CreateNamespaceRequest, self.create_namespace),
            "DeleteNamespace": (pb.DeleteNamespaceRequest, self.delete_namespace),
        }

    async def upsert(self, index: Index, request: requests.UpsertRequest) -> Reply:
        """Store vectors, all or none."""
        vectors = [
            RawVector(
                vector.id,
                packed_floats.values_of(vector),
                _sparse(vector, "sparse_values"),
                structs.metadata(vector.metadata, f"Vector '{vector.id}'") if vector.HasField("metadata") else None,
            )
            for vector in request.vectors
        ]
        count, lsn = await self._vectors.upsert(index, request.namespace, vectors)
        return pb.UpsertResponse(upserted_count=count), write_headers(lsn)

    async def query(self, index: Index, request: requests.QueryRequest) -> Reply:
        """The nearest vectors."""
        if request.queries:
            raise InvalidArgument("'queries' is no longer supported; send one query per call")
        raw = RawQuery(
            request.top_k,
            list(request.vector) or None,
            _sparse(request, "sparse_vector"),
            request.id or None,
            _filter(request),
            request.include_values,
            request.include_metadata,
        )
        result = await self._vectors.query(index, request.namespace, raw)
        reply = pb.QueryResponse(namespace=request.namespace, usage=pb.Usage(read_units=result.read_units))
        for match in result.matches:
            hit = reply.matches.add(id=match.id, score=match.score)
            if match.vector is not None:
                packed_floats.fill(hit, match.vector)
            _fill_sparse(hit.sparse_values, match.sparse)
            if request.include_metadata and match.metadata:
                structs.fill(hit.metadata, match.metadata)
        return reply, read_headers(result.lsn)

    async def fetch(self, index: Index, request: pb.FetchRequest) -> Reply:
        """Vectors by id."""
        result = await self._vectors.fetch(index, request.namespace, list(request.ids))
        reply = pb.FetchResponse(namespace=request.namespace, usage=pb.Usage(read_units=result.read_units))
        _fill_vectors(reply.vectors, result.records)
        return reply, read_headers(result.lsn)

    async def fetch_by_metadata(self, index: Index, request: requests.FetchByMetadataRequest) -> Reply:
        """A page of the vectors that match a filter."""
        result = await self._vectors.fetch_by_metadata(
            index, request.namespace, _filter(request), _given(request, "limit"), _given(request, "pagination_token")
        )
        reply = pb.FetchByMetadataResponse(namespace=request.namespace, usage=pb.Usage(read_units=result.read_units))
        _fill_vectors(reply.vectors, result.records)
        if result.next:
            reply.pagination.next = result.next
        return reply, read_headers(result.lsn)

    async def list(self, index: Index, request: pb.ListRequest) -> Reply:
        """A page of ids."""
        result = await self._vectors.list(
            index,
            request.namespace,
            _given(request, "prefix"),
            _given(request, "limit"),
            _given(request, "pagination_token"),
        )
        reply = pb.ListResponse(namespace=request.namespace, usage=pb.Usage(read_units=result.read_units))
        reply.vectors.extend(pb.ListItem(id=record.id) for record in result.records)
        if result.next:
            reply.pagination.next = result.next
        return reply, read_headers(result.lsn)

    async def update(self, index: Index, request: requests.UpdateRequest) -> Reply:
        """Change one record, or the fields of the records that match a filter."""
        fields = structs.metadata(request.set_metadata, "The update") if request.HasField("set_metadata") else None
        raw = RawVector(request.id, list(request.values) or None, _sparse(request, "sparse_values"), fields)
        condition = _filter(request)
        matched, lsn = await self._vectors.update(
            index, request.namespace, request.id or None, raw, condition, request.dry_run
        )
        reply = pb.UpdateResponse()
        if condition is not None:
            reply.matched_records = matched
        return reply, {} if request.dry_run else write_headers(lsn)

    async def delete(self, index: Index, request: requests.DeleteRequest) -> Reply:
        """Delete by ids, by filter, or everything."""
        lsn = await self._vectors.delete(
            index, request.namespace, list(request.ids), _filter(request), request.delete_all
        )
        return pb.DeleteResponse(), write_headers(lsn)

    async def describe_index_stats(self, index: Index, request: requests.DescribeIndexStatsRequest) -> Reply:
        """Describe the index, and count the records of each namespace."""
        spec, namespaces = await self._vectors.stats(index, _filter(request))
        reply = pb.DescribeIndexStatsResponse(
            index_fullness=0.0,
            total_vector_count=sum(namespace.record_count for namespace in namespaces),
            metric=spec.metric,
            vector_type="sparse" if spec.sparse else "dense",
        )
        if not spec.sparse:
            reply.dimension = spec.dimension
        for namespace in namespaces:
            reply.namespaces[namespace.name].vector_count = namespace.record_count
        return reply, {}

    async def list_namespaces(self, index: Index, request: pb.ListNamespacesRequest) -> Reply:
        """A page of namespaces."""
        page = await self._namespaces.list(
            index, _given(request, "prefix"), _given(request, "limit"), _given(request, "pagination_token")
        )
        reply = pb.ListNamespacesResponse(total_count=page.total)
        reply.namespaces.extend(_description(info) for info in page.namespaces)
        if page.next:
            reply.pagination.next = page.next
        return reply, {}

    async def describe_namespace(self, index: Index, request: pb.DescribeNamespaceRequest) -> Reply:
        """One namespace."""
        return _description(await self._namespaces.describe(index, request.namespace)), {}

    async def create_namespace(self, index: Index, request: pb.CreateNamespaceRequest) -> Reply:
        """Create an empty namespace."""
        schema = None
        if request.HasField("schema"):
            fields = {name: {"filterable": field.filterable} for name, field in request.schema.fields.items()}
            schema = {"fields": fields}
        info, lsn = await self._namespaces.create(index, request.name, schema)
        return _description(info), write_headers(lsn)

    async def delete_namespace(self, index: Index, request: pb.DeleteNamespaceRequest) -> Reply:
        """Delete a namespace with its records."""
        return pb.DeleteResponse(), write_headers(await self._namespaces.delete(index, request.namespace))


def _given(request: Any, field: str) -> Any:
    """An optional field, or None if it was not sent."""
    return getattr(request, field) if request.HasField(field) else None


def _filter(request: Any) -> dict[str, Any] | None:
    return structs.condition(request.filter) if request.HasField("filter") else None


def _sparse(message: Any, field: str) -> tuple[list[int], list[float]] | None:
    """Indices and values. None if both are empty, which some clients send for "no sparse values"."""
    sparse = getattr(message, field)
    if not message.HasField(field) or not (sparse.indices or sparse.values):
        return None
    return list(sparse.indices), list(sparse.values)


def _fill_sparse(target: pb.SparseValues, sparse: SparseVector | None) -> None:
    if sparse is not None:
        target.indices.extend(sparse.indices.tolist())
        target.values.extend(sparse.values.tolist())


def _fill_vectors(target: Any, records: Iterable[Record]) -> None:
    for record in records:
        vector = target[record.id]
        vector.id = record.id
        if record.vector is not None:
            packed_floats.fill(vector, record.vector)
        _fill_sparse(vector.sparse_values, record.sparse)
        if record.metadata:
            structs.fill(vector.metadata, record.metadata)


def _description(info: NamespaceInfo) -> pb.NamespaceDescription:
    description = pb.NamespaceDescription(name=info.name, record_count=info.record_count)
    if info.schema:
        for name in info.schema["fields"]:
            description.schema.fields[name].filterable = True
            description.indexed_fields.fields.append(name)
    return description
