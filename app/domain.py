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
    """What an index is; fixed when it is created. embed is None for an index of plain vectors."""

    name: str
    dimension: int
    metric: Metric
    embed: EmbedSpec | None = None


class Record(msgspec.Struct, frozen=True):
    """One record ready to be stored. vector: float32 [dimension], kept exactly as given."""

    id: str
    vector: NDArray[np.float32]
    metadata: Metadata


class Match(msgspec.Struct, frozen=True):
    """One hit. score: in the index's metric (cosine and dotproduct: higher is better, euclidean: lower)."""

    id: str
    score: float
    metadata: Metadata


class QueryPlan(msgspec.Struct, frozen=True):
    """The one question storage answers: the top_k records nearest to a vector, or to a stored record.

    Exactly one of vector (float32 [dimension]) and id is given. The filter is applied before ranking.
    """

    top_k: int
    vector: NDArray[np.float32] | None = None
    id: str | None = None
    filter: Condition | None = None


class QueryAnswer(msgspec.Struct, frozen=True):
    """matches: best first, ties by id. lsn: every write up to it was visible. namespace_bytes: data searched."""

    matches: list[Match]
    lsn: int
    namespace_bytes: int


class Usage(msgspec.Struct, frozen=True):
    """What an operation cost, in Pinecone's units. None: the operation does not have that cost."""

    read_units: int
    embed_tokens: int | None = None
    rerank_units: int | None = None
