"""Records: what is stored, and which of them a request means."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.filters import Condition

Metadata = dict[str, Any]
"""The fields of a record, not nested: a name, and a str, int, float, bool or list of str."""
DEFAULT_NAMESPACE = "__default__"


class SparseVector(msgspec.Struct, frozen=True):
    """A sparse vector. indices: uint32 [n], distinct terms, as ordered by the caller. values: float32 [n]."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]


class Record(msgspec.Struct, frozen=True):
    """One record. vector: float32 [dimension], kept exactly as given; None in a sparse index.

    truncated: whether its text was cut before it was embedded. metadata_json: the metadata as compact JSON, if it has
    been encoded already; an engine then need not encode it again. learned: what the index's learned sparse model made
    of its text, in a dense index. token_codes: the token vectors of its text, as search.token_codes encodes them;
    stored if the index says so. foreign: whether a caller brought the vector, though the index embeds text; an upsert
    does not look at it, because its fingerprint says so. Only complete pages have truncated and the last three.
    """

    id: str
    vector: NDArray[np.float32] | None
    metadata: Metadata
    sparse: SparseVector | None = None
    truncated: bool = False
    metadata_json: bytes | None = None
    learned: SparseVector | None = None
    token_codes: bytes | None = None
    foreign: bool = False


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


class Selection(msgspec.Struct, frozen=True):
    """Which records of a namespace: those with these ids, those that match the filter, or all if both are None."""

    ids: list[str] | None = None
    filter: Condition | None = None


class PagePlan(msgspec.Struct, frozen=True):
    """A page of records, in byte order of their ids.

    limit: how many records at most. after: only ids greater than this one. prefix: only ids that begin with these
    ASCII characters. ids_only: without vectors and metadata. complete: with everything that is stored with a record, so
    that an upsert elsewhere loses nothing.
    """

    limit: int
    selection: Selection = Selection()
    after: str = ""
    prefix: str = ""
    ids_only: bool = False
    complete: bool = False


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
