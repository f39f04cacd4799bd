"""Input that nobody means well by: each of these was once a defect, found by random input."""

import asyncio
import json
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pinyon.api.grpc import framing
from pinyon.api.grpc import vector_service_pb2 as pb
from pinyon.api.request_buffer import RequestBuffer
from pinyon.errors import InvalidArgument

from tests.api.grpc_transport import method
from tests.examples import examples
from tests.running import RunningServer

RECORD = {"_id": "kept", "chunk_text": "a text that stays", "n": 1}
SEARCH, UPSERT = "/records/namespaces/hostile/search", "/records/namespaces/hostile/upsert"


@pytest.fixture(scope="module")
def hostile(hash_server: RunningServer) -> Iterator[httpx.Client]:
    with hash_server.client() as client:
        assert client.post(UPSERT, json=RECORD).status_code == 201
        yield client
    assert "unexpected" not in hash_server.text
    assert "Traceback" not in hash_server.text


@pytest.mark.parametrize("name", ["x", "\N{CJK UNIFIED IDEOGRAPH-4E00}", "%"])
def test_a_message_about_a_long_name_is_short_over_both_protocols(
    hostile: httpx.Client, hash_server: RunningServer, name: str
) -> None:
    long = name * 300_000
    answer = hostile.post("/query", json={"vector": [1.0] * 64, "topK": 1, "filter": {long: {"$foo": 1}}})
    assert answer.status_code == 400
    assert len(answer.json()["message"]) <= 2_000
    assert "$foo" in answer.json()["message"], "the end of it is there"
    request = pb.FetchByMetadataRequest()
    request.filter.update({long: {"$foo": 1}})
    with grpc.insecure_channel(hash_server.url.removeprefix("http://")) as channel:
        call = method(channel, "FetchByMetadata", pb.FetchByMetadataRequest, pb.FetchByMetadataResponse)
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=120)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    details = caught.value.details()  # type: ignore[attr-defined]
    assert len(details.encode()) <= framing.LONGEST_STATUS, "compressing a long header takes minutes"


@given(st.text(max_size=3_000))
def test_a_status_message_fits_into_a_header_whatever_it_says(message: str) -> None:
    message = message.encode("utf-8", "replace").decode()
    found = framing.percent_encoded(message)
    assert len(found) <= framing.LONGEST_STATUS
    assert found.isascii()


def test_a_very_long_query_by_words_is_cut_and_says_so(hostile: httpx.Client) -> None:
    dice = random.Random(1)
    text = "stays " + "".join(chr(0x4E00 + dice.randrange(20_000)) for _ in range(600_000))
    for retrieval in ("lexical", "hybrid"):
        answer = hostile.post(SEARCH, json={"query": {"inputs": {"text": text, "retrieval": retrieval}, "top_k": 3}})
        assert answer.status_code == 200, answer.text[:200]
        assert [hit["_id"] for hit in answer.json()["result"]["hits"]] == ["kept"]
        assert answer.headers["x-pinyon-truncated"] == "1"


def test_what_is_nested_too_deeply_to_be_given_back_is_refused(hostile: httpx.Client) -> None:
    statuses = set()
    for depth in range(900, 1_000):
        document = '{"text":"x","n":' + "[" * depth + "]" * depth + "}"
        body = '{"model":"bm25","query":"x","documents":[' + document + "]}"
        statuses.add(hostile.post("/rerank", content=body).status_code)
    assert statuses == {200, 400}


@pytest.mark.parametrize("wanted", ["AAUAAAAA", "AAX_____", "AAIAAAAJ", "AAUAAAA"])
def test_an_upgrade_that_is_none_ends_the_connection_and_nothing_else(hostile: httpx.Client, wanted: str) -> None:
    with socket.create_connection((hostile.base_url.host, hostile.base_url.port or 0), timeout=60) as raw:
        raw.sendall(
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: " + wanted.encode() + b"\r\n\r\n"
        )
        while raw.recv(4_096):
            pass
    assert hostile.get("/health").status_code == 200


async def served(app: Any, bodies: list[list[bytes]], pause: asyncio.Event) -> list[int]:
    """The statuses of requests whose bodies arrive part by part, all begun before any ends."""
    statuses: list[int] = []

    async def one(parts: list[bytes]) -> None:
        left = list(parts)

        async def receive() -> Any:
            if not left:
                await asyncio.Event().wait()
            part = left.pop(0)
            if not left:
                await pause.wait()
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {"type": "http", "path": "/query", "method": "POST", "headers": [], "http_version": "1.1"}
        await app(scope, receive, send)

    tasks = [asyncio.ensure_future(one(parts)) for parts in bodies]
    for _ in range(50):
        await asyncio.sleep(0)
    pause.set()
    await asyncio.gather(*tasks)
    return sorted(statuses)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.anyio
async def test_bodies_on_their_way_hold_bounded_memory_in_all() -> None:
    app = RequestBuffer(echo, lambda _: 500, max_memory_bytes=1_000)
    bodies = [[b"x" * 200, b"x" * 200, b""] for _ in range(4)]
    assert await served(app, bodies, asyncio.Event()) == [200, 200, 503, 503]
    assert await served(app, bodies[:2], asyncio.Event()) == [200, 200], "what was held is given back"


@pytest.mark.anyio
async def test_a_body_that_does_not_come_is_not_waited_for_for_ever() -> None:
    sent = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/query", "method": "POST", "headers": [], "http_version": "1.1"}
    await RequestBuffer(echo, lambda _: 500, body_timeout_s=0.01)(scope, receive, send)
    assert sent[0]["status"] == 504


def test_slow_callers_do_not_hold_up_others(hostile: httpx.Client) -> None:
    address = hostile.base_url.host, hostile.base_url.port or 0
    slow = [socket.create_connection(address, timeout=60) for _ in range(50)]
    for raw in slow:
        raw.sendall(b"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{")
    try:
        for _ in range(20):
            assert hostile.get("/health").status_code == 200, "although none of the bodies is there yet"
    finally:
        for raw in slow:
            raw.close()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["$in", "$and", "$exists", "\x00", "\ud800".encode("utf-8", "replace").decode(), "a" * 1_000]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FILTERS = st.recursive(
    st.dictionaries(
        st.sampled_from(["n", "$and", "$or", "$not", "$in", "$foo", "", "x" * 3_000, "\x00"]),
        JSON,
        min_size=1,
        max_size=3,
    ),
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or", "n", "$not"]), st.lists(inner, max_size=3) | inner, min_size=1, max_size=2
    ),
    max_leaves=8,
)
FUZZ = settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture])


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")  # with NaN and Infinity


@FUZZ
@given(FILTERS)
def test_any_filter_is_answered_or_refused(hostile: httpx.Client, condition: Any) -> None:
    body = {"query": {"id": "kept", "top_k": 3, "filter": condition}}
    assert hostile.post(SEARCH, content=as_json(body)).status_code in (200, 400)


@FUZZ
@given(
    st.lists(st.dictionaries(st.sampled_from(["_id", "id", "chunk_text", "n", "$x", ""]), JSON), max_size=3),
    st.binary(max_size=9),
)
def test_any_lines_are_stored_as_a_whole_or_refused(hostile: httpx.Client, rows: list[Any], junk: bytes) -> None:
    path = "/records/namespaces/hostile-lines/"
    body = b"\n".join([*map(as_json, rows), junk])
    answer = hostile.post(path + "upsert", content=body)
    assert answer.status_code in (201, 400), answer.text
    assert hostile.get("/namespaces/hostile-lines").status_code in (200, 404)


@FUZZ
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_any_page_token_is_refused_or_understood(hostile: httpx.Client, token: str) -> None:
    for path in ("/vectors/list", "/namespaces"):
        params = {"paginationToken": token.encode("utf-8", "replace"), "namespace": "hostile"}
        assert hostile.get(path, params=params).status_code in (200, 400)


@FUZZ
@given(st.binary(max_size=200), st.integers(0, 2**32 - 1) | st.none(), st.sampled_from([0, 1, 2, 255]))
def test_any_frame_is_answered_or_refused(body: bytes, length: int | None, flag: int) -> None:
    size = len(body) if length is None else length
    raw = bytes([flag]) + size.to_bytes(4) + body
    for encoding in (b"identity", b"gzip", b"deflate", b"unknown"):
        try:
            found = framing.unframe(raw, encoding, 1_000)
        except InvalidArgument:
            continue
        except Exception as error:
            assert type(error).__name__ in ("Unimplemented", "TooLarge"), error
            continue
        assert len(found) <= 1_000


def test_a_compressed_bomb_is_refused_before_it_is_inflated(hostile: httpx.Client, hash_server: RunningServer) -> None:
    import gzip

    packed = gzip.compress(bytes(200_000_000))
    with pytest.raises(InvalidArgument):
        framing.unframe(b"\x01" + len(packed).to_bytes(4) + packed, b"gzip", 4_000_000)
    answer = hostile.post(UPSERT, content=packed, headers={"Content-Encoding": "gzip"})
    assert answer.status_code in (400, 415)


def test_ten_thousand_values_are_a_filter_or_a_refusal(hostile: httpx.Client) -> None:
    for count, status in ((10_000, 200), (10_001, 400)):
        body = {"query": {"id": "kept", "top_k": 3, "filter": {"n": {"$in": list(range(count))}}}}
        answer = hostile.post(SEARCH, content=msgspec.json.encode(body))
        assert answer.status_code == status, answer.text[:200]


def test_many_threads_of_nonsense_leave_the_record_as_it_was(hostile: httpx.Client) -> None:
    def throw(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(40):
            path = dice.choice([SEARCH, UPSERT, "/query", "/vectors/update", "/vectors/delete", "/embed", "/indexes"])
            body = dice.randbytes(dice.choice([0, 1, 50, 5_000]))
            assert httpx.post(f"{hostile.base_url}{path}", content=body, timeout=60).status_code < 500

    threads = [threading.Thread(target=throw, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = hostile.get("/vectors/fetch", params={"ids": "kept", "namespace": "hostile"}).json()["vectors"]
    assert found["kept"]["metadata"] == {"chunk_text": "a text that stays", "n": 1}
