"""Records as engines store them: their JSON, their size, and how an update changes them. Pure."""

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec, Metadata, Record, UpdatePlan
from pinyon.errors import InvalidArgument
from pinyon.storage.shared.sparse import to_blob

FLOAT_BYTES = 4


class StoredRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as it is stored, without its vector.

    row: its number in the index. json: its metadata. sparse: its sparse vector, as sparse.to_blob() encodes it.
    truncated: whether the model cut the text.
    """

    row: int
    id: str
    metadata: Metadata
    sparse: bytes | None
    json: str
    truncated: bool


def stored(row: int, record: Record) -> StoredRecord:
    """A new record as it is stored."""
    encoded = record.metadata_json
    text = to_json(record.metadata) if encoded is None else encoded.decode()
    return StoredRecord(row, record.id, record.metadata, to_blob(record.sparse), text, record.truncated)


def updated(record: StoredRecord, plan: UpdatePlan) -> StoredRecord:
    """A stored record after an update. Raises InvalidArgument if its metadata becomes longer than the plan allows."""
    metadata, text = record.metadata, record.json
    if plan.metadata is not None:
        metadata = {**metadata, **plan.metadata}
        text = to_json(metadata)
        _check_metadata(record.id, text, plan.max_metadata_bytes)
    sparse = record.sparse if plan.sparse is None else to_blob(plan.sparse)
    return StoredRecord(record.row, record.id, metadata, sparse, text, record.truncated and plan.vector is None)


def size_of(spec: IndexSpec, id: str, text: str, sparse: bytes | None) -> int:
    """The size of a record in bytes, as the statistics count it. text: its metadata in JSON."""
    return FLOAT_BYTES * spec.dimension + len(id) + len(text.encode()) + len(sparse or b"")


def check_dimension(spec: IndexSpec, vectors: Iterable[NDArray[np.float32] | None]) -> None:
    """Raises InvalidArgument if a vector does not have the dimension of the index.

    The caller has checked it too, but a re-embedding may have changed the dimension since.
    """
    for vector in vectors:
        if vector is not None and len(vector) != spec.dimension:
            raise InvalidArgument(
                f"Vector dimension {len(vector)} does not match the dimension of the index {spec.dimension}"
            )


def check_number_selected(plan: UpdatePlan, selected: int) -> None:
    """Raises InvalidArgument if more records are selected than the plan allows."""
    if plan.max_records is not None and selected > plan.max_records:
        raise InvalidArgument(
            f"The filter selects {selected} records; one update can change at most {plan.max_records}"
        )


def _check_metadata(id: str, text: str, max_bytes: int | None) -> None:
    size = len(text.encode())
    if max_bytes is not None and size > max_bytes:
        raise InvalidArgument(
            f"Vector '{id}': Metadata size is {size} bytes, which exceeds the limit of {max_bytes} bytes per vector"
        )


def to_json(value: object) -> str:
    """Compact JSON text."""
    return msgspec.json.encode(value).decode()
