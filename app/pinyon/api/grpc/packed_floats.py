"""Numbers of vectors between protobuf and numpy as bytes: item by item, they take most of the time of a large upsert.

On the wire, `repeated float` that is packed and `bytes` are the same: a length and that many bytes. What protobuf
writes itself is always packed, in one part, whatever the client sent.
"""

import numpy as np
from numpy.typing import NDArray

from pinyon.api.grpc import requests_pb2 as requests
from pinyon.api.grpc import vector_service_pb2 as pb

FLOATS = np.dtype("<f4")


def values_of(vector: requests.Vector) -> NDArray[np.float32] | None:
    """The values, float32 [n]; None without any."""
    packed = pb.PackedValues.FromString(vector.SerializeToString()).values
    return np.frombuffer(packed, FLOATS).astype(np.float32) if packed else None


def fill(target: pb.Vector | pb.ScoredVector, values: NDArray[np.float32]) -> None:
    """Set the values of a vector that has none. values: float32 [n]."""
    packed = values.astype(FLOATS).tobytes()
    message = pb.PackedValues(values=packed) if isinstance(target, pb.Vector) else pb.PackedValues(scored=packed)
    target.MergeFromString(message.SerializeToString())
