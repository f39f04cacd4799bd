"""Models of the user's own over HTTP: listed, embedding for an index of their own, and reranking its hits."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.inference import tiny_models
from tests.running import RunningServer, config, free_ports


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server with an embedding model and two rerankers in its settings."""
    folder = tmp_path_factory.mktemp("own")
    folders = {
        "my-embedder": tiny_models.embedding_model(folder / "embedder", "bert", similarity_fn_name="dot"),
        "my-reranker": tiny_models.cross_encoder(folder / "reranker", "classifier"),
        "my-colbert": tiny_models.late_interaction_model(folder / "colbert", "pylate"),
    }
    sections = "".join(f"[models.{name}]\nsource = '{path}'\n" for name, path in folders.items())
    settings = config(folder, more=sections)
    server = RunningServer(settings, folder / "data", "--index-ports", free_ports(4))
    with server.client() as client:
        yield client
    assert server.stop() == 0, server.text


def test_models_of_ones_own_are_listed_with_what_they_take(own: httpx.Client) -> None:
    listed: dict[str, Any] = {model["model"]: model for model in own.get("/models").json()["models"]}
    embedder, colbert = listed["my-embedder"], listed["my-colbert"]
    assert (embedder["type"], embedder["default_dimension"], embedder["max_sequence_length"]) == ("embed", 32, 128)
    assert embedder["supported_metrics"] == ["dotproduct", "cosine", "euclidean"]
    assert embedder["served_by"].startswith("my-embedder; own-weights=sha256:")
    assert (colbert["type"], colbert["max_sequence_length"]) == ("rerank", 64)


def test_an_index_of_a_model_of_ones_own_is_searched_and_reranked(own: httpx.Client) -> None:
    embed = {"model": "my-embedder", "field_map": {"text": "chunk"}}
    body = {"name": "mine", "cloud": "aws", "region": "us-east-1", "embed": embed}
    made = own.post("/indexes/create-for-model", json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["dimension"], made.json()["metric"]) == (32, "dotproduct")
    with httpx.Client(base_url=made.json()["host"], timeout=60) as index:
        for name in ("apples", "star", "vitamin"):
            record = {"_id": name, "chunk": name}
            assert index.post("/records/namespaces/n/upsert", json=record).status_code == 201
        for reranker in ("my-reranker", "my-colbert"):
            query = {"query": {"top_k": 3, "inputs": {"text": "passage: star"}}}
            rerank = {"model": reranker, "rank_fields": ["chunk"], "query": "star"}
            found = index.post("/records/namespaces/n/search", json={**query, "rerank": rerank})
            assert found.status_code == 200, found.text
            assert {hit["_id"] for hit in found.json()["result"]["hits"]} == {"apples", "star", "vitamin"}
            assert f"{reranker}; own-weights" in found.headers["x-pinyon-model"]
            scores = [hit["_score"] for hit in found.json()["result"]["hits"]]
            assert scores == sorted(scores, reverse=True)
