"""What a call costs besides its work: p50 and p95 of a query on an empty namespace, REST and gRPC, in one run.

    .venv/bin/python benchmarks/overhead.py [--calls 2000] [--tls]

Starts a server of its own with an index of 4 dimensions. Raw: the thinnest client there is (http.client, grpcio);
client: Pinecone's own, if it is installed. The calls of all of them alternate, so that noise meets them all.
"""

import argparse
import http.client
import json
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import grpc
from pinyon.api.grpc import vector_service_pb2 as pb
from pinyon.cli.certificates import make

from tests.api.grpc_transport import method
from tests.running import RunningServer, plain_config

QUERY = json.dumps({"vector": [1, 2, 3, 4], "topK": 1, "namespace": "empty"})


def callers(url: str, authority: Path | None) -> dict[str, Callable[[], object]]:
    """A call by each way."""
    scheme, _, address = url.partition("://")
    host, _, port = address.partition(":")
    if authority is None:
        connection = http.client.HTTPConnection(host, int(port))
        channel = grpc.insecure_channel(address)
    else:
        trust = ssl.create_default_context(cafile=str(authority))
        connection = http.client.HTTPSConnection(host, int(port), context=trust)
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(authority.read_bytes()))
    ask = method(channel, "Query", pb.QueryRequest, pb.QueryResponse)
    request = pb.QueryRequest(vector=[1, 2, 3, 4], top_k=1, namespace="empty")

    def rest(verb: str, path: str, body: str | None) -> object:
        connection.request(verb, path, body)
        return connection.getresponse().read()

    found: dict[str, Callable[[], object]] = {
        "GET /health": lambda: rest("GET", "/health", None),
        "REST, raw": lambda: rest("POST", "/query", QUERY),
        "gRPC, raw": lambda: ask(request),
    }
    if scheme == "http":
        from pinecone import Pinecone
        from pinecone.grpc import GrpcIndex

        index = Pinecone(api_key="none").Index(host=url)
        grpc_index = GrpcIndex(host=url, api_key="none", secure=False)
        found["REST, client"] = lambda: index.query(vector=[1, 2, 3, 4], top_k=1, namespace="empty")
        found["gRPC, client"] = lambda: grpc_index.query(vector=[1, 2, 3, 4], top_k=1, namespace="empty")
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told, authority = [], None
        if options.tls:
            make(folder)
            authority = folder / "ca.pem"
            told = ["--tls-cert", str(folder / "server.pem"), "--tls-key", str(folder / "server.key")]
        server = RunningServer(plain_config(folder, "dimension = 4"), folder / "data", *told)
        ways = callers(server.url, authority)
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for n in range(options.calls + 100):
            for way, call in ways.items():
                started = time.perf_counter()
                call()
                if n >= 100:
                    taken[way].append((time.perf_counter() - started) * 1000)
        server.stop()
    print("| | p50 ms | p95 ms |")
    print("|---|---|---|")
    for way, times in taken.items():
        p95 = statistics.quantiles(times, n=20)[-1]
        print(f"| {way} | {statistics.median(times):.2f} | {p95:.2f} |")


if __name__ == "__main__":
    main()
