"""The values that services, storage and models exchange. They are immutable, do no I/O and know no wire names."""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.filters import Condition, HasWords

Metric = Literal["cosine", "dotproduct", "euclidean"]
InputType = Literal["query", "passage"]
Retrieval = Literal["dense", "lexical", "hybrid"]
"""How texts are searched: by meaning (dense), by words (lexical), or by both (hybrid)."""
Diacritics = Literal["fold", "keep"]
"""fold: a word is also found without its diacritics. keep: only with them."""
TokenVectors = Literal["none", "stored"]
"""stored: the token vectors of each text are stored with the record, so that late interaction need not read it."""
Truncate = Literal["END", "NONE", "START"]
"""What happens to a text that is longer than the limit: END and START cut that end off, NONE refuses the text."""
Metadata = dict[str, Any]
"""The fields of a record, not nested: a name, and a str, int, float, bool or list of str."""

DEFAULT_NAMESPACE = "__default__"


class Fingerprint(msgspec.Struct, frozen=True):
    """What embedded the records of an index. Vectors with equal fingerprints can be compared."""

    model: str
    """The model name that the index was created with. It may be the name of a hosted model."""
    weights: str
    """The catalogue name of the weights that computed the vectors."""
    version: str
    """sha256 or revision of these weights."""
    pooling: str
    query_prefix: str
    passage_prefix: str
    dimension: int
    """Length of the vectors in the index, after zero padding."""
    sparse_model: str = ""
    """The learned sparse model that read the texts too; empty if there was none."""
    sparse_version: str = ""
    """sha256 of its weights."""

    @property
    def stand_in(self) -> bool:
        """Whether the weights are not those of the named model."""
        return self.model != self.weights


Curve = tuple[tuple[float, float], ...]
"""What scores of a pipeline mean: points of a score, ascending, and the chance that a hit with this score is relevant,
0..1 and never falling. Straight lines between the points, flat outside them."""


class Mix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much the sides of a hybrid or reranked score count: factors on the weights of search.fusion, 1 for these.

    similarity: of meaning. words: of the share of the query's words. learned: of learned words. reranker: of a
    reranker's own score, where it is combined with the others. candidates: how many records each side brings at least.
    """

    similarity: float = 1.0
    words: float = 1.0
    learned: float = 1.0
    reranker: float = 1.0
    candidates: int = 100


EVEN = Mix()
"""The mix that fits most collections."""


class EmbedSpec(msgspec.Struct, frozen=True):
    """The integrated embedding of an index: its model, the field that it embeds, and how it embeds.

    read_*: for queries. write_*: for the texts of records. *_max_tokens: the longest text, for models that let the
    caller choose; None for the model's default. retrieval: how texts are searched if a query does not say it.
    language: the language whose words are stemmed, or "auto" if it is detected for each text. mix: of hybrid and
    reranked scores if a query does not say it; None for EVEN. sparse_model: a learned sparse model that reads the texts
    too, for hybrid searches; empty if there is none. token_vectors: whether those of texts are stored, for late
    interaction. calibration: by pipeline, what its scores mean in this index: dense, lexical, hybrid, or the name of
    the weights that rerank.
    """

    model: str
    text_field: str
    read_truncate: Truncate = "END"
    write_truncate: Truncate = "END"
    read_input_type: InputType = "query"
    write_input_type: InputType = "passage"
    read_max_tokens: int | None = None
    write_max_tokens: int | None = None
    retrieval: Retrieval = "dense"
    language: str = "english"
    diacritics: Diacritics = "fold"
    mix: Mix | None = None
    sparse_model: str = ""
    token_vectors: TokenVectors = "none"
    calibration: dict[str, Curve] = {}

    @property
    def analysis(self) -> str:
        """The language as search.analysis takes it, with the treatment of diacritics."""
        return self.language if self.diacritics == "fold" else f"{self.language}+diacritics"


class IndexSpec(msgspec.Struct, frozen=True):
    """What an index is. Only `embed` can change or be added after the index was created.

    dimension: length of the dense vectors, 0 in a sparse index. embed: None if callers bring all vectors.
    """

    name: str
    dimension: int
    metric: Metric
    embed: EmbedSpec | None = None

    @property
    def sparse(self) -> bool:
        """Whether the records have sparse vectors only."""
        return self.dimension == 0

    @property
    def takes_sparse(self) -> bool:
        """Whether sparse values count in searches: in sparse indexes, and in dense ones with the metric dotproduct."""
        return self.metric == "dotproduct"


class IndexDetails(msgspec.Struct, frozen=True):
    """What the owner of an index declared about it. It has no effect on searches.

    schema, read_capacity: JSON as it was given, or None. created_at: RFC 3339.
    """

    created_at: str = ""
    cloud: str = "aws"
    region: str = "us-east-1"
    deletion_protection: bool = False
    tags: dict[str, str] = {}
    schema: dict[str, Any] | None = None
    read_capacity: dict[str, Any] | None = None


class Handle(msgspec.Struct, frozen=True, gc=False):
    """One index for good. id: no other index ever has it, not even a later one of the same name."""

    name: str
    id: str

    def __str__(self) -> str:
        return self.name


IndexRef = Handle | str
"""An index by its handle; or by its name: then it is whichever index has that name now."""


def name_of(index: IndexRef) -> str:
    """The name of the index."""
    return index if isinstance(index, str) else index.name


class Index(msgspec.Struct, frozen=True):
    """An index. handle: what storage and services know it by. version: counts the changes of spec and details.

    A request that has begun with one index never goes on with another that was made under the same name meanwhile.
    """

    spec: IndexSpec
    handle: Handle
    details: IndexDetails = IndexDetails()
    version: int = 1

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name


class CatalogueValue(msgspec.Struct, frozen=True):
    """A small text that a service stores in the catalogue of indexes. version: counts its changes, from 1."""

    text: str
    version: int


class SparseVector(msgspec.Struct, frozen=True):
    """A sparse vector. indices: uint32 [n], distinct terms, as ordered by the caller. values: float32 [n]."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]


class Record(msgspec.Struct, frozen=True):
    """One record. vector: float32 [dimension], kept exactly as given; None in a sparse index.

    truncated: whether its text was cut before it was embedded. metadata_json: the metadata as compact JSON, if it has
    been encoded already; an engine then need not encode it again. learned: what the index's learned sparse model made
    of its text, in a dense index. token_codes: the token vectors of its text, as search.token_codes encodes them;
    stored if the index says so. Both are written and never read back as values of the record.
    """

    id: str
    vector: NDArray[np.float32] | None
    metadata: Metadata
    sparse: SparseVector | None = None
    truncated: bool = False
    metadata_json: bytes | None = None
    learned: SparseVector | None = None
    token_codes: bytes | None = None


class StoredText(msgspec.Struct, frozen=True):
    """The text of a record that has to be re-embedded."""

    namespace: str
    id: str
    text: str


class ReembeddedText(msgspec.Struct, frozen=True):
    """A stored text with its new vector, float32 [dimension]. truncated, learned, token_codes: as in Record."""

    text: StoredText
    vector: NDArray[np.float32]
    truncated: bool
    learned: SparseVector | None = None
    token_codes: bytes | None = None


class Reembedding(msgspec.Struct, frozen=True):
    """An index that is being re-embedded. target: what it will be. done: re-embedded records. total: all records."""

    target: IndexSpec
    fingerprint: Fingerprint
    done: int
    total: int


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
    every search.
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


class Footprint(msgspec.Struct, frozen=True):
    """lsn: of the last write to the index. bytes: on disk, by kinds that the engine names."""

    lsn: int
    bytes: dict[str, int]


class RecallSample(msgspec.Struct, frozen=True):
    """Measured recall of a namespace. queries: approximate answers that were compared with exact ones."""

    index: str
    namespace: str
    queries: int
    recall: float


class Selection(msgspec.Struct, frozen=True):
    """Which records of a namespace: those with these ids, those that match the filter, or all if both are None."""

    ids: list[str] | None = None
    filter: Condition | None = None


class PagePlan(msgspec.Struct, frozen=True):
    """A page of records, in byte order of their ids.

    limit: how many records at most. after: only ids greater than this one. prefix: only ids that begin with these
    ASCII characters. ids_only: without vectors and metadata.
    """

    limit: int
    selection: Selection = Selection()
    after: str = ""
    prefix: str = ""
    ids_only: bool = False


class UpdatePlan(msgspec.Struct, frozen=True):
    """New values for the selected records. None leaves a value as it is. Metadata is merged key by key.

    max_records: how many records the selection may have. max_metadata_bytes: how long the merged metadata of a record
    may be, as compact JSON. None: no limit.
    """

    selection: Selection
    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    metadata: Metadata | None = None
    max_records: int | None = None
    max_metadata_bytes: int | None = None


class Page(msgspec.Struct, frozen=True):
    """Records in byte order of their ids. more: whether others follow. lsn: the last write that was visible."""

    records: list[Record]
    more: bool
    lsn: int


class NamespaceInfo(msgspec.Struct, frozen=True):
    """A namespace. schema: its filterable fields as the user declared them. truncated: records whose text was cut.

    foreign: records with vectors that a caller brought, in an index that embeds text; otherwise 0.
    """

    name: str
    record_count: int
    schema: dict[str, Any] | None = None
    truncated: int = 0
    foreign: int = 0


class Usage(msgspec.Struct, frozen=True):
    """What an operation cost, in Pinecone's units. None: the operation does not have that cost."""

    read_units: int
    embed_tokens: int | None = None
    rerank_units: int | None = None
