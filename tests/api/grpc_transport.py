"""REST questions put over gRPC, so that one test asks both protocols: an httpx transport that speaks VectorService."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import grpc
import httpx
from google.protobuf.json_format import MessageToDict, ParseDict
from pinyon.api.grpc import vector_service_pb2 as pb
from pinyon.api.rest.errors import STATUS

STATUS_OF_CODE = {code: status for status, code in reversed(STATUS.values())} | {11: 400}
METHODS: dict[tuple[str, str], tuple[str, Any, Any]] = {
    ("POST", "/vectors/upsert"): ("Upsert", pb.UpsertRequest, pb.UpsertResponse),
    ("POST", "/vectors/delete"): ("Delete", pb.DeleteRequest, pb.DeleteResponse),
    ("GET", "/vectors/fetch"): ("Fetch", pb.FetchRequest, pb.FetchResponse),
    ("POST", "/vectors/fetch_by_metadata"): ("FetchByMetadata", pb.FetchByMetadataRequest, pb.FetchByMetadataResponse),
    ("GET", "/vectors/list"): ("List", pb.ListRequest, pb.ListResponse),
    ("POST", "/query"): ("Query", pb.QueryRequest, pb.QueryResponse),
    ("POST", "/vectors/update"): ("Update", pb.UpdateRequest, pb.UpdateResponse),
    ("POST", "/describe_index_stats"): ("DescribeIndexStats", pb.DescribeIndexStatsRequest, pb.DescribeIndexStatsResponse),
    ("GET", "/describe_index_stats"): ("DescribeIndexStats", pb.DescribeIndexStatsRequest, pb.DescribeIndexStatsResponse),
    ("GET", "/namespaces"): ("ListNamespaces", pb.ListNamespacesRequest, pb.ListNamespacesResponse),
    ("POST", "/namespaces"): ("CreateNamespace", pb.CreateNamespaceRequest, pb.NamespaceDescription),
    ("GET", "/namespaces/"): ("DescribeNamespace", pb.DescribeNamespaceRequest, pb.NamespaceDescription),
    ("DELETE", "/namespaces/"): ("DeleteNamespace", pb.DeleteNamespaceRequest, pb.DeleteResponse),
}  # fmt: skip
OMITTED_WHEN_EMPTY = ("results", "sparseValues", "metadata")


def channel(url: str, host: str = "") -> grpc.Channel:
    """A channel in clear text to the server of that URL. host: as in asking()."""
    options: list[tuple[str, Any]] = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    options += [("grpc.default_authority", host)] if host else []
    return grpc.insecure_channel(url.removeprefix("http://"), options=options)


def method(channel: grpc.Channel, name: str, request: Any, response: Any) -> Any:
    """A method of VectorService."""
    return channel.unary_unary(
        f"/VectorService/{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


@contextmanager
def asking(url: str, protocol: str, key: str = "", host: str = "") -> Iterator[httpx.Client]:
    """A client of the server of that URL, over "rest" or "grpc". host: what the server is called, if it is not that."""
    transport = GrpcTransport(url, host) if protocol == "grpc" else None
    headers = {name: value for name, value in (("Api-Key", key), ("Host", host)) if value}
    with httpx.Client(base_url=url, transport=transport, headers=headers, timeout=60) as client:
        yield client


class GrpcTransport(httpx.BaseTransport):
    """Answers httpx requests for the vector and namespace routes by gRPC calls."""

    def __init__(self, url: str, host: str = "") -> None:
        self._channel = channel(url, host)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        asked = json.loads(request.content or b"{}")
        for name, value in request.url.params.multi_items():
            if name == "ids":
                asked.setdefault("ids", []).append(value)
            else:
                asked[name] = int(value) if name == "limit" else value
        if path.startswith("/namespaces/"):
            asked["namespace"] = unquote(path.removeprefix("/namespaces/"))
            path = "/namespaces/"
        name, request_type, response_type = METHODS[request.method, path]
        call = method(self._channel, name, request_type, response_type)
        sent = [(name, request.headers[name]) for name in ("api-key", "x-pinyon-min-lsn") if name in request.headers]
        try:
            answer, done = call.with_call(ParseDict(asked, request_type()), metadata=sent)
        except grpc.RpcError as error:
            code = error.code().value[0]
            body = {"code": code, "message": error.details(), "details": []}
            if code == 11:  # a size: REST calls it an invalid argument
                body["code"] = 3
            return httpx.Response(STATUS_OF_CODE[code], json=body)
        headers = {key: value for key, value in done.initial_metadata() if key.startswith("x-")}
        return httpx.Response(200, json=_as_rest(answer, path), headers=headers)

    def close(self) -> None:
        self._channel.close()


def _as_rest(answer: Any, path: str) -> Any:
    """The message as REST would have it: its names, nothing that is empty, maps in order."""
    snake = path.startswith("/namespaces")
    found = MessageToDict(answer, preserving_proto_field_name=snake, always_print_fields_with_no_presence=True)
    return _tidied(found)


def _tidied(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: int(inner) if key == "record_count" else _tidied(inner)
            for key, inner in sorted(value.items())
            if inner or key not in OMITTED_WHEN_EMPTY
        }
    return [_tidied(inner) for inner in value] if isinstance(value, list) else value
