"""POST /records/namespaces/{namespace}/upsert, over a real socket."""

import json
from typing import Any

import httpx
import pytest

from tests.running import RunningServer


def upsert(client: httpx.Client, namespace: str, *rows: Any, **headers: str) -> httpx.Response:
    body = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return client.post(f"/records/namespaces/{namespace}/upsert", content=body.encode(), headers=headers)


def stored(client: httpx.Client, namespace: str, id: str) -> dict[str, Any] | None:
    query = {"query": {"id": id, "top_k": 1}}
    hits = client.post(f"/records/namespaces/{namespace}/search", json=query).json()["result"]["hits"]
    return hits[0]["fields"] if hits else None


def count(client: httpx.Client, namespace: str) -> int:
    query = {"query": {"inputs": {"text": "x"}, "top_k": 10_000}, "fields": []}
    return len(client.post(f"/records/namespaces/{namespace}/search", json=query).json()["result"]["hits"])


def test_records_are_stored_with_their_fields(client: httpx.Client, namespace: str) -> None:
    record = {
        "chunk_text": "apples",
        "int": 2023,
        "float": 1.5,
        "flag": True,
        "tags": ["ü", "日本"],
        "none": [],
        "empty": "",
        "naïve 🙂": "x\u0000y",
        "": "nameless",
        "large": 2**53,
    }
    answer = upsert(client, namespace, {"_id": "r1", **record, "gone": None})
    assert (answer.status_code, answer.content) == (201, b"")
    assert stored(client, namespace, "r1") == record


def test_the_answer_carries_the_number_of_the_write_and_the_model(client: httpx.Client, namespace: str) -> None:
    first, second = (upsert(client, namespace, {"_id": "r", "chunk_text": "x"}).headers for _ in range(2))
    assert first["x-pinecone-request-lsn"] == first["x-pinecone-lsn-committed"]
    assert int(second["x-pinecone-request-lsn"]) > int(first["x-pinecone-request-lsn"])
    assert first["x-pinyon-model"] == "pinyon-hash-embed"
    assert len(first["x-pinecone-request-id"]) == 32
    assert int(first["x-pinecone-request-latency-ms"]) >= 0


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/plain;charset=UTF-8", "application/json", "x/y", ""])
def test_the_content_type_does_not_matter(client: httpx.Client, namespace: str, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    assert upsert(client, namespace, {"_id": "a", "chunk_text": "x"}, **headers).status_code == 201


def test_id_is_an_alias_and_the_underscored_one_wins(client: httpx.Client, namespace: str) -> None:
    upsert(client, namespace, {"id": "alias", "chunk_text": "x"}, {"_id": "real", "id": "other", "chunk_text": "y"})
    upsert(client, namespace, {"_id": None, "id": "third", "chunk_text": "z"})
    assert stored(client, namespace, "third") == {"chunk_text": "z"}
    assert stored(client, namespace, "alias") == {"chunk_text": "x"}
    assert stored(client, namespace, "real") == {"chunk_text": "y"}
    assert stored(client, namespace, "other") is None


def test_an_array_a_single_object_and_crlf_are_taken(client: httpx.Client, namespace: str) -> None:
    path = f"/records/namespaces/{namespace}/upsert"
    array = [{"_id": "a", "chunk_text": "x"}, {"_id": "b", "chunk_text": "y"}]
    assert client.post(path, json=array).status_code == 201
    assert client.post(path, json={"_id": "c", "chunk_text": "z"}).status_code == 201
    lines = b'{"_id":"d","chunk_text":"x"}\r\n\r\n{"_id":"e","chunk_text":"y"}\r\n'
    assert client.post(path, content=lines).status_code == 201
    assert count(client, namespace) == 5


def test_upserting_again_replaces(client: httpx.Client, namespace: str) -> None:
    upsert(client, namespace, {"_id": "r", "chunk_text": "apples", "old": 1})
    upsert(client, namespace, {"_id": "r", "chunk_text": "pears", "new": 1})
    assert stored(client, namespace, "r") == {"chunk_text": "pears", "new": 1}
    assert count(client, namespace) == 1


@pytest.mark.parametrize("name", ["a/b", "a%2Fb c", "100%", "q?x#y", "%41", "x" * 512, "__default__"])
def test_any_name_is_a_namespace(client: httpx.Client, namespace: str, name: str) -> None:
    from urllib.parse import quote

    encoded = quote(name, safe="")
    assert upsert(client, encoded, {"_id": namespace, "chunk_text": "x", "where": name}).status_code == 201
    assert stored(client, encoded, namespace) == {"chunk_text": "x", "where": name}


def test_a_raw_slash_and_an_encoded_one_name_the_same_namespace(client: httpx.Client, namespace: str) -> None:
    upsert(client, f"{namespace}/sub", {"_id": "r", "chunk_text": "x"})
    assert stored(client, f"{namespace}%2Fsub", "r") == {"chunk_text": "x"}


def test_the_largest_request_is_taken(client: httpx.Client, namespace: str) -> None:
    rows = [{"_id": "i" * 509 + f"{n:03}", "chunk_text": "x", "pad": "p" * 21_250} for n in range(96)]
    missing = 2_097_152 - len("\n".join(json.dumps(row) for row in rows))
    rows[0]["pad"] += "p" * missing
    assert upsert(client, namespace, *rows).status_code == 201
    assert count(client, namespace) == 96
    rows[0]["pad"] += "p"
    assert upsert(client, namespace, *rows).status_code == 400


def test_40960_bytes_of_fields_are_taken_and_one_more_is_not(client: httpx.Client, namespace: str) -> None:
    def record(size: int) -> dict[str, str]:
        return {"_id": "r", "chunk_text": "x", "pad": "p" * (size - len('{"chunk_text":"x","pad":""}'))}

    assert upsert(client, namespace, record(40_960)).status_code == 201
    refused = upsert(client, namespace, record(40_961))
    assert refused.status_code == 400
    assert "Metadata size is 40961 bytes, which exceeds the limit of 40960 bytes" in refused.json()["message"]


GOOD = {"_id": "good", "chunk_text": "fine"}
REFUSED: list[tuple[str, Any, str]] = [
    ("no id", {"chunk_text": "x"}, "Record 2 has no '_id'"),
    ("null id", {"_id": None, "chunk_text": "x"}, "Record 2 has no '_id'"),
    ("number id", {"_id": 3, "chunk_text": "x"}, "Record 2: '_id' must be a string, got 3"),
    ("empty id", {"_id": "", "chunk_text": "x"}, "Record 2: '_id' must not be empty"),
    ("long id", {"_id": "i" * 513, "chunk_text": "x"}, "'_id' is 513 characters long; at most 512"),
    ("non-ascii id", {"_id": "A Braña_0", "chunk_text": "x"}, "Vector ID must be ASCII, but got 'A Braña_0'"),
    ("nul id", {"_id": "a\0b", "chunk_text": "x"}, "must not contain null"),
    ("no text", {"_id": "r"}, "Missing or invalid field 'chunk_text' in record 'r': it is missing"),
    ("null text", {"_id": "r", "chunk_text": None}, "Missing or invalid field 'chunk_text' in record 'r'"),
    ("number text", {"_id": "r", "chunk_text": 5}, "field 'chunk_text' in record 'r': it must be a string, got int"),
    ("empty text", {"_id": "r", "chunk_text": ""}, "field 'chunk_text' in record 'r': it must be non-empty"),
    ("object", {"_id": "r", "chunk_text": "x", "o": {"a": 1}}, "list of strings, got '{\"a\":1}' for field 'o'"),
    ("numbers", {"_id": "r", "chunk_text": "x", "o": [1, 2]}, "list of strings, got '[1,2]' for field 'o'"),
    ("mixed", {"_id": "r", "chunk_text": "x", "o": ["a", None]}, "for field 'o'"),
    ("long value", {"_id": "r", "chunk_text": "x", "o": [["a" * 30]]}, "got '[[\"aaaaaaaaaaaa...' for field 'o'"),
    ("dollar", {"_id": "r", "chunk_text": "x", "$o": 1}, "Metadata field '$o' cannot start with '$'"),
    ("score", {"_id": "r", "chunk_text": "x", "_score": 1}, "'_score' is reserved"),
    ("huge", {"_id": "r", "chunk_text": "x", "n": 10**400}, "out of range"),
    ("not an object", ["x"], "Record 2 must be a JSON object, got list"),
]


@pytest.mark.parametrize(("row", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_wrong_record_refuses_the_whole_batch(client: httpx.Client, namespace: str, row: Any, message: str) -> None:
    answer = upsert(client, namespace, GOOD, row)
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert (body["code"], body["details"]) == (3, [])
    assert message in body["message"]
    assert count(client, namespace) == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "holds no records"),
        (b"[]", "holds no records"),
        (b'{"_id":"a","chunk_text":"x"}\n{broken', "Line 2 is not valid JSON"),
        (b'{"_id":"a","chunk_text":"x"}\n' * 97, "Batch size exceeds 96: the request holds 97 records"),
        (b'{"_id":"a","chunk_text":"' + b"x" * 2_097_152 + b'"}', "exceeds the maximum supported size of 2097152"),
        (b"x" * 5_000_000, "exceeds the maximum supported size"),
    ],
    ids=["empty", "empty array", "broken", "97", "2 MB", "5 MB"],
)
def test_a_wrong_request_is_refused_with_the_reason(
    client: httpx.Client, namespace: str, body: bytes, message: str
) -> None:
    answer = client.post(f"/records/namespaces/{namespace}/upsert", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert message in answer.json()["message"]
    assert count(client, namespace) == 0


@pytest.mark.parametrize("name", ["n" * 513, "ä", "a%00b", "%FF"])
def test_a_wrong_namespace_name_is_refused(client: httpx.Client, name: str) -> None:
    answer = upsert(client, name, GOOD)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


def test_texts_that_were_cut_are_counted_by_namespace(minilm_server: RunningServer, namespace: str) -> None:
    with minilm_server.client() as opened:

        def upsert(*texts: str) -> httpx.Response:
            rows = [json.dumps({"_id": str(n), "chunk_text": text}) for n, text in enumerate(texts)]
            answer = opened.post(f"/records/namespaces/{namespace}/upsert", content="\n".join(rows))
            assert answer.status_code == 201
            return answer

        def counted() -> Any:
            return opened.post("/describe_index_stats").json()["namespaces"][namespace]

        long = "apples " * 300
        assert upsert("short", long, long).headers["x-pinyon-truncated"] == "2"
        assert counted() == {"vectorCount": 3, "truncatedCount": 2}
        upsert("short", "short", long)
        assert counted() == {"vectorCount": 3, "truncatedCount": 1}
        changed = {"id": "2", "namespace": namespace, "values": [0.5] * 384}
        assert opened.post("/vectors/update", json=changed).status_code == 200
        assert counted() == {"vectorCount": 3, "truncatedCount": 0, "foreignCount": 1}
        upsert(long)
        assert opened.post("/vectors/delete", json={"ids": ["0"], "namespace": namespace}).status_code == 200
        assert counted() == {"vectorCount": 2, "truncatedCount": 0, "foreignCount": 1}
