"""POST /records/namespaces/{namespace}/facets, over a real socket."""

import json
from typing import Any

import httpx
import pytest


def test_values_are_counted_with_a_filter_and_without(client: httpx.Client, namespace: str) -> None:
    rows = [{"_id": f"{n}", "chunk_text": "pump", "kind": ["red", "blue"][: n % 3], "n": n} for n in range(6)]
    body = "\n".join(map(json.dumps, rows))
    assert client.post(f"/records/namespaces/{namespace}/upsert", content=body).status_code == 201
    answer = client.post(f"/records/namespaces/{namespace}/facets", json={"field": "kind"})
    assert answer.json() == {
        "field": "kind",
        "facets": [{"value": "red", "count": 4}, {"value": "blue", "count": 2}],
        "distinct": 2,
        "records": 6,
        "missing": 2,
    }
    assert int(answer.headers["x-pinecone-max-indexed-lsn"]) > 0
    asked = {"field": "kind", "filter": {"n": {"$lt": 3}}, "limit": 1}
    answer = client.post(f"/records/namespaces/{namespace}/facets", json=asked)
    assert answer.json() == {
        "field": "kind",
        "facets": [{"value": "red", "count": 2}],
        "distinct": 2,
        "records": 3,
        "missing": 1,
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "field"),
        ({"field": ""}, "must be the name of a field"),
        ({"field": "n", "limit": 0}, "'limit' must be from 1 to 1000, got 0"),
        ({"field": "n", "limit": 1_001}, "'limit' must be from 1 to 1000, got 1001"),
        ({"field": "n", "filter": {"n": {"$near": 1}}}, "$near"),
    ],
)
def test_what_is_wrong_is_said(client: httpx.Client, namespace: str, body: Any, message: str) -> None:
    answer = client.post(f"/records/namespaces/{namespace}/facets", json=body)
    assert answer.status_code == 400
    assert message in answer.text
