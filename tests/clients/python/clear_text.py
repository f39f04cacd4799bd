"""gRPC without TLS: what each client must be told.

Client 10 reads PINECONE_GRPC_SCHEME=http; client 9 wants GrpcIndex with secure=False, and the host with its scheme;
client 7 wants a GRPCClientConfig with secure=False, and the host without its scheme.
"""

import contextlib
import os
from typing import Any

from checks import close, equal
from pinecone import Pinecone
from pinecone.exceptions import NotFoundException
from versions import GRPC_SPEAKS_RECORDS, MAJOR, listed_hits

NAME = "clear-text"
KEY = os.environ["PINECONE_API_KEY"]


def grpc_index(host: str) -> Any:
    """The gRPC index at a host that begins with http://."""
    if MAJOR >= 10:
        from pinecone.grpc import PineconeGRPC

        return PineconeGRPC(api_key=KEY).Index(host=host)
    if MAJOR == 9:
        from pinecone.grpc import GrpcIndex

        return GrpcIndex(host=host, api_key=KEY, secure=False)
    from pinecone.grpc import GRPCClientConfig, PineconeGRPC

    insecure = GRPCClientConfig(secure=False)
    return PineconeGRPC(api_key=KEY).Index(host=host.removeprefix("http://"), grpc_config=insecure)


if __name__ == "__main__":
    client = Pinecone(api_key=KEY)
    with contextlib.suppress(NotFoundException):
        client.delete_index(NAME)
    embed = {"model": "test-embed-8", "field_map": {"text": "text"}}
    client.create_index_for_model(name=NAME, cloud="aws", region="us-east-1", embed=embed)
    host = client.describe_index(NAME).host
    equal(host.split(":")[0], "http")
    index = grpc_index(host)
    equal(index.upsert(vectors=[{"id": "a", "values": [0.5] * 8}], namespace="n").upserted_count, 1)
    found = index.query(vector=[1.0] * 8, top_k=1, namespace="n")
    equal(found.matches[0].id, "a")
    close(found.matches[0].score, 1.0)
    if GRPC_SPEAKS_RECORDS:
        index.upsert_records(namespace="texts", records=[{"_id": "b", "text": "apples"}])
        hits = index.search(namespace="texts", query={"inputs": {"text": "apples"}, "top_k": 1})
        equal([name for name, _, _ in listed_hits(hits)], ["b"])
    client.delete_index(NAME)
