"""Requests and responses of the vector and namespace routes. Names are Pinecone's; most fields are in camelCase."""

from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from pinyon.domain import SparseVector


class Camel(msgspec.Struct, rename="camel", omit_defaults=True):
    """Base class: names in camelCase, and no field for a default value."""


class SparseValues(Camel):
    """Sparse values in a request."""

    indices: list[int]
    values: list[float]

    def pair(self) -> tuple[list[int], list[float]]:
        """Indices and values."""
        return self.indices, self.values


class Vector(Camel):
    """A vector in a request."""

    id: Any = None
    values: list[float] | None = None
    sparse_values: SparseValues | None = None
    metadata: dict[str, Any] | None = None


class UpsertRequest(Camel):
    """POST /vectors/upsert."""

    vectors: list[Vector]
    namespace: str = ""


class QueryRequest(Camel):
    """POST /query. scan_factor and max_candidates are accepted, but have no effect: they are for dedicated hardware."""

    top_k: int
    namespace: str = ""
    filter: dict[str, Any] | None = None
    include_values: bool = False
    include_metadata: bool = False
    vector: list[float] | None = None
    sparse_vector: SparseValues | None = None
    id: str | None = None
    queries: list[Any] | None = None
    scan_factor: float | None = None
    max_candidates: int | None = None


class FetchByMetadataRequest(Camel):
    """POST /vectors/fetch_by_metadata."""

    namespace: str = ""
    filter: dict[str, Any] | None = None
    limit: int | None = None
    pagination_token: str | None = None


class UpdateRequest(Camel):
    """POST /vectors/update."""

    id: str | None = None
    values: list[float] | None = None
    sparse_values: SparseValues | None = None
    set_metadata: dict[str, Any] | None = None
    namespace: str = ""
    filter: dict[str, Any] | None = None
    dry_run: bool = False


class DeleteRequest(Camel):
    """POST /vectors/delete."""

    ids: list[str] | None = None
    delete_all: bool = False
    namespace: str = ""
    filter: dict[str, Any] | None = None


class DescribeIndexStatsRequest(Camel):
    """POST /describe_index_stats."""

    filter: dict[str, Any] | None = None


class CreateNamespaceRequest(msgspec.Struct):
    """POST /namespaces."""

    name: str
    schema: "Schema | None" = None


class Schema(msgspec.Struct):
    """The declared fields of a namespace."""

    fields: dict[str, dict[str, bool]]


class StoredSparse(Camel):
    """Sparse values in a response."""

    indices: list[int]
    values: msgspec.Raw


NO_VALUES = msgspec.Raw(b"[]")
"""The values of a sparse vector, or of a vector whose values were not requested. Some clients need the field."""


class FetchedVector(msgspec.Struct, rename="camel"):
    """A stored vector in a response."""

    id: str
    values: msgspec.Raw
    sparse_values: StoredSparse | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class ScoredVector(msgspec.Struct, rename="camel"):
    """A hit."""

    id: str
    score: float
    values: msgspec.Raw
    sparse_values: StoredSparse | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class ReadUsage(Camel):
    """The cost of a read."""

    read_units: int


class Pagination(Camel):
    """The token of the next page."""

    next: str


class UpsertResponse(Camel):
    """How many vectors were stored."""

    upserted_count: int


class QueryResponse(msgspec.Struct):
    """The hits, best first."""

    matches: list[ScoredVector]
    namespace: str
    usage: ReadUsage


class FetchResponse(msgspec.Struct, omit_defaults=True):
    """Vectors, by id."""

    vectors: dict[str, FetchedVector]
    namespace: str
    usage: ReadUsage


class FetchByMetadataResponse(msgspec.Struct, omit_defaults=True):
    """A page of vectors, by id."""

    vectors: dict[str, FetchedVector]
    namespace: str
    usage: ReadUsage
    pagination: Pagination | None = None


class ListItem(Camel):
    """The id of a vector."""

    id: str


class ListResponse(msgspec.Struct, omit_defaults=True):
    """A page of ids."""

    vectors: list[ListItem]
    namespace: str
    usage: ReadUsage
    pagination: Pagination | None = None


class UpdateResponse(Camel):
    """How many records matched the filter of an update."""

    matched_records: int | None = None


class DeleteResponse(msgspec.Struct):
    """An empty object."""


class NamespaceSummary(msgspec.Struct, rename="camel"):
    """A namespace in the statistics. truncated_count and foreign_count are extensions of Pinyon.

    truncated_count: texts that were cut before they were embedded; only for indexes that embed text. foreign_count:
    vectors that callers brought into such an index, if there are any.
    """

    vector_count: int
    truncated_count: int | msgspec.UnsetType = msgspec.UNSET
    foreign_count: int | msgspec.UnsetType = msgspec.UNSET


class IndexDescription(msgspec.Struct, rename="camel"):
    """The statistics of an index. dimension: only for dense indexes."""

    namespaces: dict[str, NamespaceSummary]
    index_fullness: float
    total_vector_count: int
    metric: str
    vector_type: str
    dimension: int | msgspec.UnsetType = msgspec.UNSET


class IndexedFields(msgspec.Struct):
    """The names of the filterable fields that a schema declares."""

    fields: list[str]


class NamespaceDescription(msgspec.Struct, omit_defaults=True):
    """A namespace."""

    name: str
    record_count: int
    schema: dict[str, Any] | None = None
    indexed_fields: IndexedFields | None = None


class ListNamespacesResponse(msgspec.Struct, omit_defaults=True):
    """A page of namespaces."""

    namespaces: list[NamespaceDescription]
    total_count: int
    pagination: Pagination | None = None


def numbers(values: NDArray[np.float32] | None) -> msgspec.Raw:
    """A JSON list with the shortest text for each float32, so that 0.4 is returned as 0.4. values: float32 [n]."""
    if values is None:
        return NO_VALUES
    return msgspec.Raw(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY))


def stored_sparse(sparse: SparseVector | None) -> StoredSparse | msgspec.UnsetType:
    """Sparse values for a response. UNSET if there are none."""
    return msgspec.UNSET if sparse is None else StoredSparse(sparse.indices.tolist(), numbers(sparse.values))
