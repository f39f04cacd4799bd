"""Requests and responses of the record and inference routes. Names are Pinecone's; fields are in snake_case."""

from typing import Any, Literal

import msgspec


class UpsertRecord(msgspec.Struct):
    """A record to store: an id, the text field of the index, and any other fields."""

    id: str = msgspec.field(name="_id")


class MatchTerms(msgspec.Struct):
    """Words that a hit must contain."""

    terms: list[str]
    strategy: str = "all"


class EmbedInputs(msgspec.Struct, forbid_unknown_fields=True):
    """A text to embed."""

    text: str


class SearchInputs(msgspec.Struct, forbid_unknown_fields=True):
    """The text of a search. Everything else is an extension of Pinyon."""

    text: str
    retrieval: Literal["dense", "lexical", "hybrid"] | None = None
    mix: dict[str, Any] | None = None
    min_score: float | None = None
    group_by: str | None = None
    group_size: int | None = None
    explain: bool = False


class SearchRecordsVector(msgspec.Struct):
    """A query vector."""

    values: list[float] | None = None
    sparse_values: list[float] | None = None
    sparse_indices: list[int] | None = None


class SearchRecordsQuery(msgspec.Struct):
    """The query: a text, a vector, or the id of a record."""

    top_k: int
    filter: dict[str, Any] | None = None
    inputs: SearchInputs | None = None
    vector: SearchRecordsVector | None = None
    id: str | None = None
    match_terms: MatchTerms | None = None


class SearchRecordsRerank(msgspec.Struct):
    """How the hits are reranked."""

    model: str
    rank_fields: list[str] | None = None
    top_n: int | None = None
    parameters: dict[str, Any] | None = None
    query: str | None = None


class SearchRecordsRequest(msgspec.Struct):
    """POST /records/namespaces/{namespace}/search."""

    query: SearchRecordsQuery
    fields: list[str] | None = None
    rerank: SearchRecordsRerank | None = None


class Hit(msgspec.Struct):
    """A record that matches a search."""

    id: str = msgspec.field(name="_id")
    score: float = msgspec.field(name="_score")
    fields: dict[str, Any]


class SearchResult(msgspec.Struct):
    """The hits, best first."""

    hits: list[Hit]


class SearchUsage(msgspec.Struct, omit_defaults=True):
    """The cost of a search."""

    read_units: int
    embed_total_tokens: int | None = None
    rerank_units: int | None = None


class SearchRecordsResponse(msgspec.Struct):
    """The response to a search."""

    result: SearchResult
    usage: SearchUsage


class FacetsRequest(msgspec.Struct):
    """POST /records/namespaces/{namespace}/facets, an extension of Pinyon."""

    field: str
    filter: dict[str, Any] | None = None
    limit: int | None = None


class FacetValue(msgspec.Struct):
    """A value of the field, and how many records have it."""

    value: str | float | bool
    count: int


class FacetsResponse(msgspec.Struct):
    """The most frequent values first. distinct: values in all. records: that match. missing: those without a value."""

    field: str
    facets: list[FacetValue]
    distinct: int
    records: int
    missing: int


class RpcStatus(msgspec.Struct):
    """The error body of the data plane."""

    code: int
    message: str
    details: list[Any]


class ErrorDetail(msgspec.Struct):
    """The error in the error body of the control plane."""

    code: str
    message: str


class ErrorResponse(msgspec.Struct):
    """The error body of the control plane."""

    error: ErrorDetail
    status: int


class SupportedParameter(msgspec.Struct, omit_defaults=True):
    """A parameter of a model."""

    parameter: str
    type: str
    value_type: str
    required: bool
    allowed_values: list[str | int] | None = None
    min: int | None = None
    max: int | None = None
    default: str | int | bool | None = None


class ModelInfo(msgspec.Struct, omit_defaults=True):
    """A model. The last four are extensions of Pinyon.

    served_by: the model that answers here. precision: how it is computed. precision_reason: why. unavailable: why no
    model answers.
    """

    model: str
    short_description: str
    type: str
    supported_parameters: list[SupportedParameter]
    modality: str
    max_sequence_length: int
    max_batch_size: int
    provider_name: str
    vector_type: str | None = None
    default_dimension: int | None = None
    supported_dimensions: list[int] | None = None
    supported_metrics: list[str] | None = None
    served_by: str | None = None
    precision: str | None = None
    precision_reason: str | None = None
    unavailable: str | None = None


class ModelInfoList(msgspec.Struct):
    """All models."""

    models: list[ModelInfo]


class EmbedRequest(msgspec.Struct):
    """POST /embed."""

    model: str
    inputs: list[EmbedInputs]
    parameters: dict[str, Any] | None = None


class DenseEmbedding(msgspec.Struct):
    """A dense vector."""

    values: msgspec.Raw
    vector_type: str = "dense"


class SparseEmbedding(msgspec.Struct, omit_defaults=True):
    """A sparse vector, with its tokens if the request asks for them."""

    sparse_values: msgspec.Raw
    sparse_indices: list[int]
    vector_type: str = msgspec.field(default_factory=lambda: "sparse")
    sparse_tokens: list[str] | None = None


class EmbedUsage(msgspec.Struct):
    """The cost of an embedding."""

    total_tokens: int


class EmbeddingsList(msgspec.Struct):
    """One vector for each input, in the same order."""

    model: str
    vector_type: str
    data: list[Any]
    usage: EmbedUsage


class TokenCountList(msgspec.Struct):
    """The tokens of each input, in the same order. max_tokens: what the model reads of an input."""

    model: str
    max_tokens: int
    tokens: list[int]


class RerankRequest(msgspec.Struct):
    """POST /rerank."""

    model: str
    query: str
    documents: list[dict[str, Any]]
    top_n: int | None = None
    return_documents: bool = True
    rank_fields: list[str] | None = None
    parameters: dict[str, Any] | None = None


class ReembedRequest(msgspec.Struct):
    """POST /indexes/{name}/reembed, an extension of Pinyon."""

    model: str
    dimension: int | None = None
    sparse_model: str | None = None


class RankedDocument(msgspec.Struct, omit_defaults=True):
    """A document with its score. index: its position in the request. document: only if the request asks for it."""

    index: int
    score: float
    document: dict[str, Any] | None = None


class RerankUsage(msgspec.Struct):
    """The cost of a reranking."""

    rerank_units: int


class RerankResult(msgspec.Struct):
    """Documents, best first."""

    model: str
    data: list[RankedDocument]
    usage: RerankUsage
