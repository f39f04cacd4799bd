"""VectorService over real sockets: what is gRPC's own. The questions themselves are asked in test_vectors.py."""

import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import h2.connection
import h2.events
import httpx
import pytest
from google.protobuf.struct_pb2 import Struct
from pinyon.api.grpc import vector_service_pb2 as pb

from tests.api.grpc_transport import channel, method
from tests.running import RunningServer, plain_config

Servers = Callable[[str], RunningServer]


@pytest.fixture
def open_channel(plain_servers: Servers) -> Iterator[grpc.Channel]:
    with channel(plain_servers("cosine").url) as opened:
        yield opened


def stats(opened: grpc.Channel) -> Any:
    return method(opened, "DescribeIndexStats", pb.DescribeIndexStatsRequest, pb.DescribeIndexStatsResponse)


def query(opened: grpc.Channel) -> Any:
    return method(opened, "Query", pb.QueryRequest, pb.QueryResponse)


def upsert(opened: grpc.Channel) -> Any:
    return method(opened, "Upsert", pb.UpsertRequest, pb.UpsertResponse)


def failure(call: Any, request: Any, **more: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        call(request, **more)
    return raised.value


def struct(**fields: Any) -> Struct:
    made = Struct()
    made.update(fields)
    return made


def test_unknown_methods_and_services_are_unimplemented(open_channel: grpc.Channel) -> None:
    for path in ("/VectorService/Nope", "/Other/Query", "/VectorService/"):
        call = open_channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        assert failure(call, b"").code() is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message_are_refused(open_channel: grpc.Channel) -> None:
    call = open_channel.unary_unary("/VectorService/Query", request_serializer=bytes, response_deserializer=bytes)
    error = failure(call, b"\xff\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "is not a QueryRequest" in error.details()


def test_a_failure_says_which_request_it_was(open_channel: grpc.Channel) -> None:
    error = failure(query(open_channel), pb.QueryRequest(top_k=1, vector=[1.0, 2.0, 3.0]))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "Vector dimension 3 does not match the dimension of the index 2"
    assert len(dict(error.trailing_metadata())["x-pinecone-request-id"]) == 32


def test_a_message_may_hold_any_character(open_channel: grpc.Channel, namespace: str) -> None:
    request = pb.UpsertRequest(vectors=[pb.Vector(id="ä%\n☃", values=[1, 0])], namespace=namespace)
    assert "but got 'ä%\n☃'" in failure(upsert(open_channel), request).details()


def test_null_metadata_is_refused_where_rest_drops_it(open_channel: grpc.Channel, namespace: str) -> None:
    vector = pb.Vector(id="a", values=[1, 0], metadata=struct(gone=None))
    error = failure(upsert(open_channel), pb.UpsertRequest(vectors=[vector], namespace=namespace))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "got 'null' for field 'gone'" in error.details()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_refused(open_channel: grpc.Channel, namespace: str, value: float) -> None:
    for request in (
        pb.UpsertRequest(vectors=[pb.Vector(id="a", values=[value, 1])], namespace=namespace),
        pb.UpsertRequest(vectors=[pb.Vector(id="a", values=[1, 1], metadata=struct(n=value))], namespace=namespace),
    ):
        assert failure(upsert(open_channel), request).code() is grpc.StatusCode.INVALID_ARGUMENT
    asked = pb.QueryRequest(top_k=1, vector=[1, 1], namespace=namespace, filter=struct(n={"$gt": value}))
    assert failure(query(open_channel), asked).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_whole_numbers_stay_whole_over_rest(plain_servers: Servers, open_channel: grpc.Channel, namespace: str) -> None:
    vector = pb.Vector(id="a", values=[1, 0], metadata=struct(year=2019, share=0.5, tags=["x"], on=True))
    assert upsert(open_channel)(pb.UpsertRequest(vectors=[vector], namespace=namespace)).upserted_count == 1
    with plain_servers("cosine").client() as rest:
        text = rest.get("/vectors/fetch", params={"ids": "a", "namespace": namespace}).text
    assert re.search(r'"year":2019[,}]', text) and '"share":0.5' in text


def test_the_old_way_to_query_is_refused(open_channel: grpc.Channel) -> None:
    request = pb.QueryRequest(top_k=1, queries=[pb.QueryVector(values=[1, 2])])
    assert "no longer supported" in failure(query(open_channel), request).details()


def test_a_deadline_that_is_over_ends_the_call_and_not_the_channel(open_channel: grpc.Channel) -> None:
    call = stats(open_channel)
    error = failure(call, pb.DescribeIndexStatsRequest(), timeout=-1)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert call(pb.DescribeIndexStatsRequest()).metric == "cosine"


@pytest.mark.parametrize(("timeout", "status"), [("1n", "4"), ("20S", "0"), ("soon", "3")])
def test_the_server_keeps_to_the_deadline_by_itself(plain_servers: Servers, timeout: str, status: str) -> None:
    """Without a client that gives up before it hears the answer."""
    found = trailers_of(plain_servers("cosine").url, "/VectorService/DescribeIndexStats", {"grpc-timeout": timeout})
    assert found["grpc-status"] == status


def trailers_of(url: str, path: str, headers: dict[str, str]) -> dict[str, str]:
    """The trailers of a call with an empty message, over HTTP/2 by hand."""
    host, _, port = url.removeprefix("http://").partition(":")
    http = h2.connection.H2Connection()
    http.initiate_connection()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        pseudo = {":method": "POST", ":scheme": "http", ":authority": f"{host}:{port}", ":path": path}
        told = {**pseudo, "content-type": "application/grpc", "te": "trailers", **headers}
        http.send_headers(1, list(told.items()))
        http.send_data(1, bytes(5), end_stream=True)
        connection.sendall(http.data_to_send())
        while True:
            for event in http.receive_data(connection.recv(65_536)):
                if isinstance(event, h2.events.TrailersReceived):
                    return {name.decode(): value.decode() for name, value in event.headers or []}
            connection.sendall(http.data_to_send())


def test_compressed_messages_are_read(plain_servers: Servers, namespace: str) -> None:
    target = plain_servers("cosine").url.removeprefix("http://")
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        with grpc.insecure_channel(target, compression=compression) as opened:
            vectors = [pb.Vector(id=f"id-{n}", values=[1, n]) for n in range(500)]
            assert upsert(opened)(pb.UpsertRequest(vectors=vectors, namespace=namespace)).upserted_count == 500


def test_an_upsert_over_2_mb_and_a_message_over_4_mb_are_refused(open_channel: grpc.Channel, namespace: str) -> None:
    def request(megabytes: float) -> pb.UpsertRequest:
        text = "x" * 39_000
        count = int(megabytes * 1024 * 1024 / 39_100)
        vectors = [pb.Vector(id=str(n), values=[1, 1], metadata=struct(t=text)) for n in range(count)]
        return pb.UpsertRequest(vectors=vectors, namespace=namespace)

    assert upsert(open_channel)(request(1.9)).upserted_count > 40
    for megabytes in (2.5, 6):
        error = failure(upsert(open_channel), request(megabytes))
        assert error.code() is grpc.StatusCode.OUT_OF_RANGE
        assert "exceeds the maximum supported size of" in error.details()
    assert stats(open_channel)(pb.DescribeIndexStatsRequest()).dimension == 2


def test_many_threads_on_one_channel_meet_no_error(open_channel: grpc.Channel, namespace: str) -> None:
    """Hypercorn closes a connection after a thousand requests unless it is told not to."""
    write, ask, errors = upsert(open_channel), query(open_channel), list[Exception]()

    def work(thread: int) -> None:
        try:
            for n in range(100):
                if n % 25 == 0:
                    vectors = [pb.Vector(id=f"{thread}-{n}", values=[1, n])]
                    write(pb.UpsertRequest(vectors=vectors, namespace=namespace))
                ask(pb.QueryRequest(top_k=3, vector=[1, 1], namespace=namespace))
        except grpc.RpcError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_refused_upload_does_not_disturb_other_calls_on_its_connection(open_channel: grpc.Channel) -> None:
    """An answer before the end of an upload would make Hypercorn end the connection: hence whole requests first."""
    errors: list[Exception] = []

    def ask() -> None:
        try:
            for _ in range(150):
                stats(open_channel)(pb.DescribeIndexStatsRequest())
        except grpc.RpcError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    large = open_channel.unary_unary("/VectorService/Nope", request_serializer=bytes, response_deserializer=bytes)
    for _ in range(10):
        failure(large, bytes(8_000_000))
    thread.join()
    assert errors == []


def test_http_1_cannot_carry_a_call(plain_servers: Servers) -> None:
    url = plain_servers("cosine").url + "/VectorService/Query"
    answer = httpx.post(url, content=b"\0\0\0\0\0", headers={"content-type": "application/grpc"}, timeout=60)
    assert answer.status_code == 404


def test_more_calls_at_once_than_a_connection_takes_wait_their_turn(plain_servers: Servers) -> None:
    with channel(plain_servers("cosine").url) as opened:
        calls = [stats(opened).future(pb.DescribeIndexStatsRequest()) for _ in range(1200)]
        assert {call.result().dimension for call in calls} == {2}


def test_a_path_that_is_no_text_is_reset_and_the_server_still_ends(tmp_path: Path) -> None:
    server = RunningServer(plain_config(tmp_path, "dimension = 2"), tmp_path / "data")
    host, _, port = server.url.removeprefix("http://").partition(":")
    http = h2.connection.H2Connection()
    http.initiate_connection()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        half = {":method": "POST", ":scheme": "http", ":authority": f"{host}:{port}", ":path": "/query"}
        http.send_headers(1, list(half.items()))
        http.send_headers(3, [*({**half, ":path": b"/\xe9"}).items()])
        connection.sendall(http.data_to_send())
        found: list[type] = []
        while h2.events.StreamReset not in found:
            found += [type(event) for event in http.receive_data(connection.recv(65_536))]
        assert h2.events.ConnectionTerminated not in found
        server.process.send_signal(signal.SIGTERM)
    assert server.ended() == 0, server.text
    assert "Traceback" not in server.text


def test_a_large_message_is_taken_without_asking_for_leave_in_between(plain_servers: Servers, namespace: str) -> None:
    vectors = [pb.Vector(id=str(n), values=[1, 1], metadata=struct(t="x" * 39_000)) for n in range(40)]
    message = pb.UpsertRequest(vectors=vectors, namespace=namespace).SerializeToString()
    body = b"\0" + len(message).to_bytes(4, "big") + message
    host, _, port = plain_servers("cosine").url.removeprefix("http://").partition(":")
    http = h2.connection.H2Connection()
    http.initiate_connection()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(http.data_to_send())
        told = {":method": "POST", ":scheme": "http", ":authority": host, ":path": "/VectorService/Upsert"}
        http.send_headers(1, [*told.items(), ("content-type", "application/grpc"), ("te", "trailers")])
        while http.local_flow_control_window(1) < len(body):  # what the server allows from the start
            http.receive_data(connection.recv(65_536))
        assert http.max_outbound_frame_size > 100_000
        for start in range(0, len(body), http.max_outbound_frame_size):
            http.send_data(1, body[start : start + http.max_outbound_frame_size])
        http.end_stream(1)
        connection.sendall(http.data_to_send())
        found: list[Any] = []
        while not any(isinstance(event, h2.events.TrailersReceived) for event in found):
            found += http.receive_data(connection.recv(65_536))
            connection.sendall(http.data_to_send())
        assert any((b"grpc-status", b"0") in (getattr(event, "headers", None) or []) for event in found)
