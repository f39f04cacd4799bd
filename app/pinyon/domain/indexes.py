"""Indexes: what they are, what embeds their records, and what is known about them."""

from typing import Any, Literal

import msgspec

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


class BackupLabel(msgspec.Struct, frozen=True):
    """What somebody says of a backup. id: no other backup has it. created_at: RFC 3339.

    schedule: the id of the schedule that made it; None if a person did.
    """

    id: str
    created_at: str
    name: str | None = None
    description: str | None = None
    schedule: str | None = None


class Backup(msgspec.Struct, frozen=True):
    """A copy of an index as it was at one moment: after the write with this LSN.

    index: the index at that moment. embedded_by: what embedded its records. records, namespaces: how many it has.
    bytes: on disk.
    """

    label: BackupLabel
    index: Index
    lsn: int
    embedded_by: Fingerprint | None
    records: int
    namespaces: int
    bytes: int


class CatalogueValue(msgspec.Struct, frozen=True):
    """A small text that a service stores in the catalogue of indexes. version: counts its changes, from 1."""

    text: str
    version: int


class Lease(msgspec.Struct, frozen=True):
    """The right of one owner to do a job, until it releases the lease or the lease expires. name: of the job."""

    name: str
    owner: str


class Note(msgspec.Struct, frozen=True):
    """A small text that a service stores with an index, and that goes with it. text: None to remove it.

    lease: it is stored only while the owner of the lease has it. None: in any case.
    """

    key: str
    text: str | None
    lease: Lease | None = None


class Reembedding(msgspec.Struct, frozen=True):
    """An index that is being re-embedded. target: what it will be. done: re-embedded records. total: all records."""

    target: IndexSpec
    fingerprint: Fingerprint
    done: int
    total: int


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


class NamespaceInfo(msgspec.Struct, frozen=True):
    """A namespace. schema: its filterable fields as the user declared them. truncated: records whose text was cut.

    foreign: records with vectors that a caller brought, in an index that embeds text; otherwise 0. bytes: of the ids,
    vectors and fields of all records.
    """

    name: str
    record_count: int
    schema: dict[str, Any] | None = None
    truncated: int = 0
    foreign: int = 0
    bytes: int = 0
