"""How many bytes a record counts in an upsert or an answer, however it is written on the wire. Pure.

A record counts four bytes for each number, eight for each sparse pair, its id, and its fields as compact JSON.
Pinecone's table of batch sizes holds only if records are counted this way.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Match, Metadata, Record, SparseVector

NUMBER_BYTES, PAIR_BYTES = 4, 8


def of_record(record: Record) -> int:
    """Bytes of a record."""
    return _bytes(record.id, record.vector, record.sparse, record.metadata, record.metadata_json)


def of_records(records: Sequence[Record]) -> int:
    """Bytes of records."""
    return sum(map(of_record, records))


def of_matches(matches: Sequence[Match], with_metadata: bool) -> int:
    """Bytes of hits."""
    return sum(_bytes(m.id, m.vector, m.sparse, m.metadata if with_metadata else {}) for m in matches)


def _bytes(
    id: str,
    vector: NDArray[np.float32] | None,
    sparse: SparseVector | None,
    metadata: Metadata,
    metadata_json: bytes | None = None,
) -> int:
    size = len(id)
    if vector is not None:
        size += NUMBER_BYTES * len(vector)
    if sparse is not None:
        size += PAIR_BYTES * len(sparse.indices)
    if metadata:
        size += len(metadata_json or msgspec.json.encode(metadata))
    return size
