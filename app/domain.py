"""The values that services, storage and models exchange: frozen, no I/O, no wire names."""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.filters import Condition

Metric = Literal["cosine", "dotproduct", "euclidean"]
InputType = Literal["query", "passage"]
Truncate = Literal["END", "NONE"]
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
    """Integrated embedding of an index: which model, which field, how over-long text is treated."""

    model: str
    text_field: str
    read_truncate: Truncate = "END"
    write_truncate: Truncate = "END"


class IndexSpec(msgspec.Struct, frozen=True):
    """What an index is; fixed when it is created.

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


class SparseVector(msgspec.Struct, frozen=True):
    """Non-zero terms, in the order they were given. indices: uint32 [n], distinct; values: float32 [n]."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]


class Record(msgspec.Struct, frozen=True):
    """One record. vector: float32 [dimension], kept exactly as given; None in a sparse index."""

    id: str
    vector: NDArray[np.float32] | None
    metadata: Metadata
    sparse: SparseVector | None = None


class Match(msgspec.Struct, frozen=True):
    """One hit. score: in the index's metric (cosine and dotproduct: higher is better, euclidean: lower).

    vector and sparse are there if the plan asked for values.
    """

    id: str
    score: float
    metadata: Metadata
    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None


class QueryPlan(msgspec.Struct, frozen=True):
    """The one question storage answers: the top_k records nearest to a vector, or to a stored record.

    Either id is given, or vector (float32 [dimension]) or sparse or both, whose scores add up. The filter is applied
    before ranking. In a sparse index only records that share a term with the query match.
    """

    top_k: int
    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    id: str | None = None
    filter: Condition | None = None
    include_values: bool = False


class QueryAnswer(msgspec.Struct, frozen=True):
    """matches: best first, ties by id. lsn: every write up to it was visible. namespace_bytes: data searched."""

    matches: list[Match]
    lsn: int
    namespace_bytes: int


class Selection(msgspec.Struct, frozen=True):
    """Records of a namespace: those with these ids, or those a filter keeps, or (both None) all of them."""

    ids: list[str] | None = None
    filter: Condition | None = None


class Change(msgspec.Struct, frozen=True):
    """What an update sets; None leaves it as it is. Metadata is merged key by key."""

    vector: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    metadata: Metadata | None = None


class Page(msgspec.Struct, frozen=True):
    """Records in the order of their ids. more: whether others follow. lsn: every write up to it was visible."""

    records: list[Record]
    more: bool
    lsn: int


class NamespaceInfo(msgspec.Struct, frozen=True):
    """A namespace. schema: its filterable fields as the user declared them, or None."""

    name: str
    record_count: int
    schema: dict[str, Any] | None = None


class Usage(msgspec.Struct, frozen=True):
    """What an operation cost, in Pinecone's units. None: the operation does not have that cost."""

    read_units: int
    embed_tokens: int | None = None
    rerank_units: int | None = None
