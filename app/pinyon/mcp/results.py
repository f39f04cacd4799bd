"""The results of the tools. Names are those of Pinecone's API as its MCP server shows them, in camel case.

What is not there is left out. `notes` are sentences for the agent: what was cut, and how to get more.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Notes = Annotated[list[str], Meta(description="What was cut or left out of this answer, and how to get more.")]


class Result(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a tool returns."""


class Pagination(Result, frozen=True):
    """Where the next page begins."""

    next: Annotated[str, Meta(description="The paginationToken of the next page.")]


class Embedding(Result, frozen=True):
    """What embeds the records of an index."""

    model: str
    field_map: Annotated[dict[str, str], Meta(description="'text' names the field that is embedded.")]
    answered_by: Annotated[str, Meta(description="The model that computes here; a stand-in says that it is one.")] = ""
    retrieval: Annotated[str, Meta(description="How texts are searched if a query does not say it.")] = ""


class IndexStatus(Result, frozen=True):
    """Whether an index can answer."""

    ready: bool
    state: str


class IndexDescription(Result, frozen=True):
    """One index."""

    name: str
    metric: str
    vector_type: str
    status: IndexStatus
    dimension: int | None = None
    host: str = ""
    embed: Annotated[Embedding | None, Meta(description="Only indexes with it take and search texts.")] = None
    deletion_protection: str = "disabled"
    tags: dict[str, str] = {}
    notes: Notes = []


class IndexList(Result, frozen=True):
    """A page of indexes, sorted by name."""

    indexes: list[IndexDescription]
    pagination: Pagination | None = None
    notes: Notes = []


class NamespaceStats(Result, frozen=True):
    """The size of a namespace."""

    record_count: int


class IndexStats(Result, frozen=True):
    """The size of an index."""

    total_record_count: int
    namespaces: Annotated[dict[str, NamespaceStats], Meta(description="By name; the largest ones.")]
    metric: str = ""
    vector_type: str = ""
    dimension: int | None = None
    notes: Notes = []


class NamespaceDescription(Result, frozen=True):
    """One namespace."""

    name: str
    record_count: int


class NamespaceList(Result, frozen=True):
    """A page of namespaces, sorted by name."""

    namespaces: list[NamespaceDescription]
    total_count: int
    pagination: Pagination | None = None


class Upserted(Result, frozen=True):
    """Records that were stored."""

    upserted_count: int
    models: Annotated[list[str], Meta(description="The models that embedded the texts.")]
    notes: Notes = []


class Record(Result, frozen=True):
    """A record."""

    id: str = msgspec.field(name="_id")
    fields: dict[str, Any]


class FetchedRecords(Result, frozen=True):
    """Records in the order of the ids."""

    records: list[Record]
    missing: Annotated[list[str], Meta(description="Ids that no record has.")] = []
    notes: Notes = []


class FacetValue(Result, frozen=True):
    """A value, and how many records have it."""

    value: str | float | bool
    count: int


class Facets(Result, frozen=True):
    """The values of a field."""

    facets: list[FacetValue]
    distinct: Annotated[int, Meta(description="How many different values there are.")]
    records: Annotated[int, Meta(description="How many records match the filter.")]
    missing: Annotated[int, Meta(description="How many of them have no value of the field.")]
    notes: Notes = []


class Hit(Result, frozen=True):
    """A record that matches."""

    id: str = msgspec.field(name="_id")
    score: float = msgspec.field(name="_score")
    fields: dict[str, Any]


class Hits(Result, frozen=True):
    """Hits, best first."""

    hits: list[Hit]


class Usage(Result, frozen=True):
    """What a search cost, in Pinecone's units."""

    read_units: int | None = None
    embed_total_tokens: int | None = None
    rerank_units: int | None = None


class SearchResult(Result, frozen=True):
    """The answer to a search."""

    result: Hits
    usage: Usage
    models: Annotated[list[str], Meta(description="The models that embedded or reranked.")]
    notes: Notes = []


class RankedDocument(Result, frozen=True):
    """A reranked document. index: its position, from 0."""

    index: Annotated[int, Meta(description="The position of the document before it was reranked, from 0.")]
    score: float
    document: dict[str, Any]
    id: Annotated[str | None, Meta(description="The id of the record, if it comes from an index.")] = msgspec.field(
        name="_id", default=None
    )
    source: Annotated[str | None, Meta(description="The index and the namespace that have the record.")] = None


class RerankResult(Result, frozen=True):
    """Documents, best first."""

    model: Annotated[str, Meta(description="The model that computed the scores; a stand-in says that it is one.")]
    data: list[RankedDocument]
    usage: Usage
    notes: Notes = []


class Explanation(Result, frozen=True):
    """Why a record has its place among the hits of a search."""

    id: str = msgspec.field(name="_id")
    rank: Annotated[int | None, Meta(description="Its place, from 1; absent if it is none of the topK hits.")]
    hits: Annotated[int, Meta(description="How many hits the search has.")]
    score: float | None = None
    parts: Annotated[
        dict[str, Any],
        Meta(
            description="The parts of the score. dense: the cosine of the query and the text; lexical: BM25 of their "
            "common words; dense_rank, lexical_rank: the places by each alone; similarity: the cosine corrected by "
            "background, which any text here has with the query; share: how much of the query's information the "
            "common words carry; lexical_weight: how much of the score comes from words; learned: of a learned sparse "
            "model; rank, score: before reranking; rerank: the reranker's score; calibrated: the chance that the "
            "record is relevant, if this is known."
        ),
    ] = {}
    best: Annotated[Hit | None, Meta(description="The best hit, without fields.")] = None
    above: Annotated[Hit | None, Meta(description="The hit just before this record, without fields.")] = None
    models: list[str] = []
    notes: Notes = []
