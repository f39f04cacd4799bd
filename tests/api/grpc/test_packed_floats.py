"""Numbers of vectors as bytes: the same as item by item, whatever the client's encoding."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pinyon.api.grpc import packed_floats, structs
from pinyon.api.grpc import vector_service_pb2 as pb
from pinyon.errors import InvalidArgument

VALUES = arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(width=32))


@given(values=VALUES)
def test_values_are_what_protobuf_reads_and_writes_item_by_item(values: np.ndarray) -> None:
    vector, hit = pb.Vector(id="a"), pb.ScoredVector(id="a", score=0.5)
    packed_floats.fill(vector, values)
    packed_floats.fill(hit, values)
    for message in (vector, hit):
        assert message.id == "a"
        assert np.array(message.values, np.float32).tobytes() == values.tobytes()
    vector.metadata.update({"n": 1.0})
    found = packed_floats.values_of(pb.Vector.FromString(vector.SerializeToString()))
    assert found is not None and found.dtype == np.float32 and found.tobytes() == values.tobytes()


def test_a_vector_without_values_has_none() -> None:
    assert packed_floats.values_of(pb.Vector(id="a", sparse_values=pb.SparseValues(indices=[1], values=[2.0]))) is None


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x12\x08" + struct.pack("<2f", 1, 2),
        b"\x15" + struct.pack("<f", 1) + b"\x15" + struct.pack("<f", 2),
        b"\x12\x04" + struct.pack("<f", 1) + b"\x12\x04" + struct.pack("<f", 2),
        b"\x12\x04" + struct.pack("<f", 1) + b"\x15" + struct.pack("<f", 2),
    ],
    ids=["packed", "unpacked", "packed in two parts", "both"],
)
def test_every_encoding_that_protobuf_allows_is_read(encoded: bytes) -> None:
    found = packed_floats.values_of(pb.Vector.FromString(b"\x0a\x01a" + encoded))
    assert found is not None and found.tolist() == [1, 2]


@pytest.mark.parametrize("raw", [b"\x08\x01\x0a\xff", b"\x0a\x04\x12\x02\x18\x01\x0a\xff", b"\x0a\x03\x12\x01\x28"])
def test_a_struct_whose_parts_are_of_another_kind_is_the_callers_fault(raw: bytes) -> None:
    with pytest.raises(InvalidArgument, match="a Struct that cannot be read"):
        structs.condition(raw)
