"""Moves vectors between protobuf and numpy as bytes. Item by item, that takes most of the time of a large upsert.

On the wire, packed `repeated float` and `bytes` look the same: a length, then the bytes. A message that protobuf itself
wrote is always packed, in one part, however the client sent it.
"""

import numpy as np
from numpy.typing import NDArray

from pinyon.api.grpc import requests_pb2 as requests
from pinyon.api.grpc import vector_service_pb2 as pb

FLOATS = np.dtype("<f4")


def values_of(vector: requests.Vector) -> NDArray[np.float32] | None:
    """The values of a vector, float32 [n]. None if there are none."""
    packed = pb.PackedValues.FromString(vector.SerializeToString()).values
    return np.frombuffer(packed, FLOATS).astype(np.float32) if packed else None


def fill(target: pb.Vector | pb.ScoredVector, values: NDArray[np.float32]) -> None:
    """Set the values of a vector that has none yet. values: float32 [n]."""
    packed = values.astype(FLOATS).tobytes()
    message = pb.PackedValues(values=packed) if isinstance(target, pb.Vector) else pb.PackedValues(scored=packed)
    target.MergeFromString(message.SerializeToString())
