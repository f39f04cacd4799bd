"""Upserts of 600 kB: 100 vectors of 1,536 dimensions over gRPC and REST, and the parts of one.

python -m benchmarks.large_bodies
"""

import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import msgspec
import numpy as np
from pinyon.api.grpc import vector_service_pb2 as pb

from tests.api.grpc_transport import method
from tests.running import RunningServer, plain_config

ROWS, DIMENSION, ROUNDS = 100, 1_536, 60


def main() -> None:
    """Measure and print a table."""
    values = np.random.default_rng(0).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    vectors = [pb.Vector(id=f"r{n}", values=row) for n, row in enumerate(values)]
    message = pb.UpsertRequest(vectors=vectors, namespace="grpc")
    rows = [{"id": f"r{n}", "values": [round(float(v), 6) for v in row]} for n, row in enumerate(values)]
    body = json.dumps({"vectors": rows, "namespace": "rest"}).encode()
    packed = message.SerializeToString()
    with tempfile.TemporaryDirectory() as name:
        server = RunningServer(plain_config(Path(name), f"dimension = {DIMENSION}"), Path(name) / "data")
        address = server.url.partition("://")[2]
        connection = http.client.HTTPConnection(address)
        call = method(grpc.insecure_channel(address), "Upsert", pb.UpsertRequest, pb.UpsertResponse)

        def rest() -> None:
            connection.request("POST", "/vectors/upsert", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()

        ways: dict[str, Callable[[], object]] = {
            f"gRPC, {len(packed) / 1e3:.0f} kB": lambda: call(message),
            f"REST, {len(body) / 1e3:.0f} kB": rest,
            "of it: reading the protobuf": lambda: pb.UpsertRequest.FromString(packed),
            "of it: reading the JSON": lambda: msgspec.json.decode(body),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(ROUNDS + 5):
            for way, run in ways.items():
                begun = time.perf_counter()
                run()
                if turn >= 5:
                    taken[way].append(time.perf_counter() - begun)
        server.stop()
    print("| upsert of 100 vectors of 1,536 | p50 ms | p95 ms |")
    print("|---|---|---|")
    for way, times in taken.items():
        print(f"| {way} | {statistics.median(times) * 1e3:.1f} | {np.percentile(times, 95) * 1e3:.1f} |")


if __name__ == "__main__":
    main()
