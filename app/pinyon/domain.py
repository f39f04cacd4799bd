"""The values that services, storage and models exchange: frozen, no I/O, no wire names."""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.filters import Condition, HasWords

Metric = Literal["cosine", "dotproduct", "euclidean"]
InputType = Literal["query", "passage"]
Retrieval = Literal["dense", "lexical", "hybrid"]
Diacritics = Literal["fold", "keep"]
"""By meaning, by words, or by both."""
Truncate = Literal["END", "NONE", "START"]
"""How a text over the limit is treated: END and START say which end is cut off, NONE refuses it."""
Metadata = dict[str, Any]
"""Flat: field name to str, int, float, bool or list of str."""

DEFAULT_NAMESPACE = "__default__"


class Fingerprint(msgspec.Struct, frozen=True):
    """What embedded an index: two indexes with equal fingerprints have comparable vectors."""

    model: str
    """The name the index was created with, perhaps a hosted one."""
    weights: str
    """The catalogue name of the weights that answered."""
    version: str
    """sha256 or revision of those weights."""
    pooling: str
    query_prefix: str
    passage_prefix: str
    dimension: int
    """Length of the vectors in the index, after zero padding."""

    @property
    def stand_in(self) -> bool:
        """Whether other weights than the named ones answered."""
        return self.model != self.weights


class EmbedSpec(msgspec.Struct, frozen=True):
    """Integrated embedding of an index: which model, which field, and how queries (read) and texts (write) go to it.

    retrieval: how texts are searched unless a query says otherwise. language: whose words are stemmed.
    diacritics: whether a word is also found without them.
    *_max_tokens: of a text, for models that let the caller choose; None: the model's default.
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

    @property
    def analysis(self) -> str:
        """What terms.py takes for a language."""
        return self.language if self.diacritics == "fold" else f"{self.language}+diacritics"


class IndexSpec(msgspec.Struct, frozen=True):
    """What an index is. Fixed when it is created; only how text is embedded may change, or be added, later.

    dimension: length of the dense vectors, 0 in a sparse index. embed: None for an index of plain vectors.
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
        """Whether a record may have sparse values: in sparse indexes, and beside dense ones under dotproduct."""
        return self.metric == "dotproduct"


class IndexDetails(msgspec.Struct, frozen=True):
    """What the owner of an index says of it, without effect on searches.

    schema and read_capacity are kept as they were given (JSON), or None. created_at: RFC 3339.
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
    """An index. port: where it answers by itself, or None if it has no port of its own.

    handle: what storage and services know it by. A request that has begun with one index never goes on with another
    that was made under the same name meanwhile. version: counts the changes of spec and details.
    """

    spec: IndexSpec
    handle: Handle
    details: IndexDetails = IndexDetails()
    port: int | None = None
    version: int = 1

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name


class SparseVector(msgspec.Struct, frozen=True):
    """Non-zero terms, in the order they were given. indices: uint32 [n], distinct; values: float32 [n]."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]


class Record(msgspec.Struct, frozen=True):
    """One record. vector: float32 [dimension], kept exactly as given; None in a sparse index.

    truncated: whether its text was cut before it was embedded. metadata_json: the metadata as compact JSON, if it has
    been encoded already; an engine then need not encode it again.
    """

    id: str
    vector: NDArray[np.float32] | None
    metadata: Metadata
    sparse: SparseVector | None = None
    truncated: bool = False
    metadata_json: bytes | None = None


class StoredText(msgspec.Struct, frozen=True):
    """The text of a record that is to be embedded anew."""

    namespace: str
    id: str
    text: str


class Reembedding(msgspec.Struct, frozen=True):
    """An index on its way to another embedding. target: what it will be. done, total: records, so far and in all."""

    target: IndexSpec
    fingerprint: Fingerprint
    done: int
    total: int


class ScoreParts(msgspec.Struct, frozen=True):
    """The two sides of a hybrid score, each with a score and a rank from 1; None on a side that did not match."""

    dense: float | None
    dense_rank: int | None
    lexical: float | None
    lexical_rank: int | None


class Match(msgspec.Struct, frozen=True, gc=False):
    """One hit. score: in the index's metric (cosine and dotproduct: higher is better, euclidean: lower).

    Lexical retrieval scores by BM25, hybrid retrieval by ranking.fused(). parts: of a hybrid score. vector, sparse: the
    record's, if the plan asks for values.
    """

    id: str
    score: float
    metadata: Metadata
    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    parts: ScoreParts | None = None


class QueryPlan(msgspec.Struct, frozen=True):
    """The one question storage answers: the top_k records nearest to a vector, or to a stored record.

    Either id is given, or vector (float32 [dimension]) or sparse or both, whose scores add up. The filter is applied
    before ranking. In a sparse index only records that share a term with the query match. by_rarity: multiply the
    weight of each sparse term of the query by ranking.idf() of it in the namespace. words: for sparse indexes only,
    words that a match must have. text: search by its words, beside the vector (hybrid) or without one (lexical); for
    dense indexes that embed. counted: a text whose terms the namespace is to be asked for; for such indexes, too.
    embedded_by: what embedded the query, which must be what the records are embedded by. exact: every record is
    compared with the vector, however many there are.
    """

    top_k: int
    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    id: str | None = None
    filter: Condition | None = None
    include_values: bool = False
    by_rarity: bool = False
    words: HasWords | None = None
    text: str | None = None
    counted: str | None = None
    embedded_by: Fingerprint | None = None
    exact: bool = False


class TermStatistics(msgspec.Struct, frozen=True):
    """What a namespace says of the terms of a text, for BM25.

    texts: how many records have a text. average: terms of a text. having: how many texts have each of the terms.
    """

    texts: int
    average: float
    having: dict[str, int]
    language: str


class QueryAnswer(msgspec.Struct, frozen=True):
    """matches: best first, ties by id. lsn: every write up to it was visible. namespace_bytes: data searched.

    statistics: of the terms of the plan's `counted`, if there are any texts. embedded_by: what embedded the records.
    approximate: whether some records near to the vector may have been missed. foreign: as in NamespaceInfo.
    """

    matches: list[Match]
    lsn: int
    namespace_bytes: int
    statistics: TermStatistics | None = None
    embedded_by: Fingerprint | None = None
    approximate: bool = False
    foreign: int = 0


class Footprint(msgspec.Struct, frozen=True):
    """The number of an index's last write, and its bytes on disk by kind: data, log, inverted."""

    lsn: int
    bytes: dict[str, int]


class RecallSample(msgspec.Struct, frozen=True):
    """How many approximate answers were compared with exact ones, and the mean share of the best that they had."""

    index: str
    namespace: str
    queries: int
    recall: float


class Selection(msgspec.Struct, frozen=True):
    """Records of a namespace: those with these ids, or those a filter keeps, or (both None) all of them."""

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
    """Records in the order of their ids. more: whether others follow. lsn: every write up to it was visible."""

    records: list[Record]
    more: bool
    lsn: int


class NamespaceInfo(msgspec.Struct, frozen=True):
    """A namespace. schema: its filterable fields as the user declared them. truncated: records whose text was cut.

    foreign: records of an index that embeds text whose vectors a caller brought.
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
