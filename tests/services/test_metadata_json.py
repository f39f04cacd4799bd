"""The JSON of a record's metadata is made once, where the record is checked, and stored as it is."""

from typing import Any

import msgspec
import numpy as np
import pytest
from pinyon.domain import Handle, Index, IndexSpec, Record
from pinyon.services.data_plane import sizes
from pinyon.services.data_plane.vectors import RawVector, Vectors
from pinyon.settings import LimitSettings

pytestmark = pytest.mark.anyio


class Engine:
    """Remembers the records that it is given."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def upsert(self, index: Any, namespace: str, records: list[Record]) -> int:
        self.records += records
        return 1


async def test_a_record_carries_its_metadata_as_json_to_storage() -> None:
    engine: Any = Engine()
    index = Index(IndexSpec("docs", 2, "cosine"), Handle("docs", "1"))
    fields = {"year": 2020, "none": None, "tags": ["a", "ü"], "large": 2**60}
    await Vectors(engine, LimitSettings()).upsert(index, "", [RawVector("a", [1.0, 2.0], metadata=fields)])
    (record,) = engine.records
    assert record.metadata == {"year": 2020, "tags": ["a", "ü"], "large": float(2**60)}
    assert record.metadata_json == msgspec.json.encode(record.metadata)


def test_a_record_counts_as_many_bytes_with_its_json_as_without() -> None:
    vector = np.ones(2, np.float32)
    for metadata in ({}, {"title": "ü"}):
        encoded = msgspec.json.encode(metadata)
        carried = Record("a", vector, metadata, metadata_json=encoded)
        assert sizes.of_record(carried) == sizes.of_record(Record("a", vector, metadata))
