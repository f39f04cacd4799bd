"""The arguments of the tools. Names are those of Pinecone's MCP server; what that does not have is optional.

The descriptions are written for models that choose the arguments.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

IndexName = Annotated[str, Meta(description="The name of the index; list-indexes shows the names.")]
Namespace = Annotated[
    str, Meta(description="The namespace; list-namespaces shows the names. Without one, the default namespace.")
]
Filter = Annotated[
    dict[str, Any],
    Meta(
        description='Only records whose fields match, such as {"year": {"$gte": 2020}}. Operators: $eq, $ne, $gt, '
        "$gte, $lt, $lte, $in, $nin, $exists, $and, $or. facet-values shows the values that a field has."
    ),
]
FieldNames = Annotated[
    list[str], Meta(description="The fields of the records to show; all of them if this is not given.")
]
PageToken = Annotated[str, Meta(description="The value of pagination.next in the page before.")]


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Arguments of a tool. Unknown names are refused, because a misspelt filter must not be ignored."""


class ListIndexes(Arguments, frozen=True):
    """Arguments of list-indexes."""

    limit: Annotated[int, Meta(ge=1, le=100, description="The most indexes to list.")] = 50
    pagination_token: PageToken | None = None


class OfIndex(Arguments, frozen=True):
    """Arguments of describe-index and describe-index-stats."""

    name: IndexName


class FieldMap(Arguments, frozen=True):
    """Which field is embedded."""

    text: Annotated[str, Meta(description="The field of the records whose text is embedded. Every record needs it.")]


class Embed(Arguments, frozen=True):
    """How an index embeds."""

    model: Annotated[
        str,
        Meta(
            description="The embedding model, such as multilingual-e5-large, llama-text-embed-v2, all-MiniLM-L6-v2 or "
            "pinecone-sparse-english-v0 (sparse: searched by words). An unknown name is answered by a list of those "
            "that this server knows."
        ),
    ]
    field_map: FieldMap


class CreateIndex(Arguments, frozen=True):
    """Arguments of create-index-for-model."""

    name: Annotated[str, Meta(description="A name that no other index has: lower case letters, digits and hyphens.")]
    embed: Embed
    cloud: Annotated[str, Meta(description="Stored and shown; without effect on this server.")] = "aws"
    region: Annotated[str, Meta(description="Stored and shown; without effect on this server.")] = "us-east-1"


class UpsertRecords(Arguments, frozen=True):
    """Arguments of upsert-records."""

    name: IndexName
    records: Annotated[
        list[dict[str, Any]],
        Meta(
            description="Records, each with an '_id' (or 'id') and with text in the field that the index embeds "
            "(describe-index shows which). Other fields are strings, numbers, booleans or lists of strings. A record "
            "with an id that exists is replaced as a whole. At most 96 in one call."
        ),
    ]
    namespace: Namespace = ""


class Inputs(Arguments, frozen=True):
    """What is searched for."""

    text: Annotated[str, Meta(description="The text to search for.")]
    retrieval: (
        Annotated[
            Literal["dense", "lexical", "hybrid"],
            Meta(description="By meaning (dense), by words (lexical) or both; if not given, as the index is set up."),
        ]
        | None
    ) = None


class Query(Arguments, frozen=True):
    """A query."""

    inputs: Inputs
    top_k: Annotated[int, Meta(ge=1, description="How many records to find.")]
    filter: Filter | None = None


class RerankOptions(Arguments, frozen=True):
    """How hits are reranked."""

    model: Annotated[
        str,
        Meta(
            description="The reranking model, such as bge-reranker-v2-m3 or pinecone-rerank-v0. An unknown name is "
            "answered by a list of those that this server knows."
        ),
    ]
    rank_fields: (
        Annotated[list[str], Meta(description="The fields that the model reads; if not given, the embedded field.")]
        | None
    ) = None
    top_n: Annotated[int, Meta(ge=1, description="How many of the topK hits to keep.")] | None = None
    query: Annotated[str, Meta(description="The query to rerank by, if it is not that of the search.")] | None = None


class SearchRecords(Arguments, frozen=True):
    """Arguments of search-records."""

    name: IndexName
    query: Query
    namespace: Namespace = ""
    rerank: RerankOptions | None = None
    fields: FieldNames | None = None
    skip: Annotated[
        int, Meta(ge=0, description="Leave out so many of the best hits, which an answer before has shown.")
    ] = 0


class SearchedIndex(Arguments, frozen=True):
    """An index and a namespace of it."""

    name: IndexName
    namespace: Namespace = ""


class CascadingSearch(Arguments, frozen=True):
    """Arguments of cascading-search."""

    indexes: Annotated[
        list[SearchedIndex],
        Meta(min_length=1, max_length=20, description="Indexes or namespaces to search. Their fields should be alike."),
    ]
    query: Query
    rerank: RerankOptions


class RerankDocumentsOptions(Arguments, frozen=True):
    """How documents are reranked."""

    top_n: Annotated[int, Meta(ge=1, description="How many documents to return.")] | None = None
    rank_fields: (
        Annotated[list[str], Meta(description="The fields that the model reads, if documents are records: 'text'.")]
        | None
    ) = None


class RerankDocuments(Arguments, frozen=True):
    """Arguments of rerank-documents."""

    model: Annotated[str, Meta(description="The reranking model, such as bge-reranker-v2-m3.")]
    query: Annotated[str, Meta(description="The query that documents are ranked by.")]
    documents: Annotated[
        list[str | dict[str, Any]],
        Meta(min_length=1, description="Texts, or records whose rankFields are strings."),
    ]
    options: RerankDocumentsOptions = RerankDocumentsOptions()


class FetchRecords(Arguments, frozen=True):
    """Arguments of fetch-records."""

    name: IndexName
    ids: Annotated[list[str], Meta(min_length=1, max_length=50, description="The ids of the records.")]
    namespace: Namespace = ""
    fields: FieldNames | None = None
    text_offset: Annotated[
        int, Meta(ge=0, description="Show strings from this character on, to read the rest of a long text.")
    ] = 0


class ListNamespaces(Arguments, frozen=True):
    """Arguments of list-namespaces."""

    name: IndexName
    prefix: Annotated[str, Meta(description="Only namespaces whose names begin so.")] | None = None
    limit: Annotated[int, Meta(ge=1, le=100, description="The most namespaces to list.")] = 50
    pagination_token: PageToken | None = None


class FacetValues(Arguments, frozen=True):
    """Arguments of facet-values."""

    name: IndexName
    field: Annotated[str, Meta(description="The field whose values are counted.")]
    namespace: Namespace = ""
    filter: Filter | None = None
    limit: Annotated[int, Meta(ge=1, le=100, description="The most values to show, the most frequent first.")] = 20


class ExplainHit(Arguments, frozen=True):
    """Arguments of explain-hit."""

    name: IndexName
    id: Annotated[str, Meta(description="The id of the record, in '_id' of the hit.")]
    query: Query
    namespace: Namespace = ""
    rerank: RerankOptions | None = None
