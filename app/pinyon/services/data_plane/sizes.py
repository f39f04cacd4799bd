"""How many bytes a record counts for in an upsert or an answer, whatever text it is sent as. Pure.

Four for each number, eight for each sparse pair, the id, and the fields as compact JSON: Pinecone's own table of batch
sizes only holds if it counts like this.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Match, Metadata, Record, SparseVector

NUMBER_BYTES, PAIR_BYTES = 4, 8


def of_record(record: Record, with_metadata: bool = True) -> int:
    """Bytes of a record."""
    return _bytes(record.id, record.vector, record.sparse, record.metadata if with_metadata else None)


def of_records(records: Sequence[Record]) -> int:
    """Bytes of records."""
    return sum(map(of_record, records))


def of_matches(matches: Sequence[Match], with_metadata: bool) -> int:
    """Bytes of hits."""
    return sum(_bytes(m.id, m.vector, m.sparse, m.metadata if with_metadata else None) for m in matches)


def _bytes(id: str, vector: NDArray[np.float32] | None, sparse: SparseVector | None, metadata: Metadata | None) -> int:
    size = len(id)
    if vector is not None:
        size += NUMBER_BYTES * len(vector)
    if sparse is not None:
        size += PAIR_BYTES * len(sparse.indices)
    if metadata:
        size += len(msgspec.json.encode(metadata))
    return size
