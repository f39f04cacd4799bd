"""Searches: what storage is asked for, and what it answers."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain.indexes import EVEN, Fingerprint, Mix
from pinyon.domain.records import Metadata, SparseVector
from pinyon.filters import Condition, HasWords


class ScoreParts(msgspec.Struct, frozen=True):
    """The sides of a hybrid score; None for what a record does not have. Ranks count from 1.

    dense: the cosine. background: the cosine that any text of the namespace has with the query. similarity: the cosine
    corrected by it. lexical: BM25. share: the share of the query's information that the words carry. learned: what the
    index's learned sparse model says, corrected for chance. The score is fusion.fused() of similarity, share and
    learned; lexical_weight and learned_weight are the parts of the latter two in it.
    """

    dense: float | None
    dense_rank: int | None
    lexical: float | None
    lexical_rank: int | None
    background: float
    similarity: float
    share: float
    lexical_weight: float
    learned: float | None = None
    learned_weight: float | None = None


class Match(msgspec.Struct, frozen=True, gc=False):
    """One hit. score: in the index's metric (cosine and dotproduct: higher is better, euclidean: lower).

    Lexical retrieval scores by BM25, hybrid retrieval by fusion.fused(). parts: of a hybrid score. vector, sparse: the
    record's, if the plan asks for values. learned: as in ScoreParts, if the plan has learned words. token_codes: the
    record's, if it has some and the plan asks for them.
    """

    id: str
    score: float
    metadata: Metadata
    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    parts: ScoreParts | None = None
    learned: float | None = None
    token_codes: bytes | None = None


class Grouping(msgspec.Struct, frozen=True):
    """At most `size` hits have the same value of a field. search/grouping.py has the rules."""

    field: str
    size: int = 1


class QueryPlan(msgspec.Struct, frozen=True):
    """A search that storage answers: the top_k records that are nearest to a vector, or to a stored record.

    id: search with the vectors of this stored record; vector and sparse are None then.
    vector: float32 [dimension]. If sparse is given too, the two scores are added.
    sparse: in a sparse index, only records that share a term with it match.
    filter: applied before ranking. include_values: return the vectors of the hits. include_token_codes: return their
    token vectors.
    by_rarity: multiply the weight of each sparse term by its ranking.idf() in the namespace.
    words: words that a hit must have; for sparse indexes only.
    text: search by its words, with the vector (hybrid) or without one (lexical); for dense indexes that embed text.
    statistics_text: return the term statistics of this text; for dense indexes that embed text.
    embedded_by: what embedded the query. It must be what embedded the records.
    unrelated: float64 [dimension], as fusion.background() takes it; for hybrid searches. similarity_weight: as
    fusion.Sides has it; for hybrid searches.
    mix: of hybrid searches. exact: compare the vector with every record, however many there are.
    learned: what the index's learned sparse model made of the query; a part of hybrid scores, and shown by hits of
    every search. grouping: how many hits may have the same value of a field; None: any number.
    """

    top_k: int
    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    id: str | None = None
    filter: Condition | None = None
    include_values: bool = False
    include_token_codes: bool = False
    by_rarity: bool = False
    words: HasWords | None = None
    text: str | None = None
    statistics_text: str | None = None
    embedded_by: Fingerprint | None = None
    unrelated: NDArray[np.float64] | None = None
    similarity_weight: float = 1.0
    mix: Mix = EVEN
    learned: SparseVector | None = None
    exact: bool = False
    grouping: Grouping | None = None


class Centroid(msgspec.Struct, frozen=True):
    """The mean of the unit vectors of a namespace. mean: float64 [dimension]. records: how many, more than 0."""

    mean: NDArray[np.float64]
    records: int


class TermStatistics(msgspec.Struct, frozen=True):
    """How common the terms of a text are in a namespace, for BM25.

    texts: records that have a text. average: mean number of words of a text. having: for each term, by its forms, the
    number of texts that have any of them. analysis, languages: as search.analysis.query_terms() takes them.
    """

    texts: int
    average: float
    having: dict[tuple[str, ...], int]
    analysis: str
    languages: tuple[str, ...] = ()


class QueryAnswer(msgspec.Struct, frozen=True):
    """matches: best first, ties by id. lsn: the last write that was visible. namespace_bytes: size of the namespace.

    statistics: of the plan's statistics_text, if the namespace has texts. centroid: of the namespace, for hybrid
    searches and if the plan has a statistics_text; None if the index embeds no text. embedded_by: what embedded the
    records. approximate: whether some of the nearest records may have been missed. foreign: as in NamespaceInfo.
    """

    matches: list[Match]
    lsn: int
    namespace_bytes: int
    statistics: TermStatistics | None = None
    embedded_by: Fingerprint | None = None
    approximate: bool = False
    foreign: int = 0
    centroid: Centroid | None = None


class Usage(msgspec.Struct, frozen=True):
    """What an operation cost, in Pinecone's units. None: the operation does not have that cost."""

    read_units: int
    embed_tokens: int | None = None
    rerank_units: int | None = None


class FacetPlan(msgspec.Struct, frozen=True):
    """A count of the records of a namespace by the values of a field. filter: only records that match it.

    limit: how many values at most, those with the most records.
    """

    field: str
    limit: int
    filter: Condition | None = None


class Facet(msgspec.Struct, frozen=True):
    """A value of a field, and how many records have it."""

    value: str | float | bool
    count: int


class Facets(msgspec.Struct, frozen=True):
    """Values of a field with exact counts, the most frequent first.

    Equal counts are ordered: booleans, numbers, then strings. distinct: how many values there are in all. records: how
    many records match. missing: how many of them have no value of the field. A record with a list counts for each
    value.
    """

    facets: list[Facet]
    distinct: int
    records: int
    missing: int
    lsn: int
