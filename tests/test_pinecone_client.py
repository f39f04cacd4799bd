"""The official Pinecone client, unmodified, against the quick start's server."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from pinecone import AsyncPinecone, Pinecone, ServerlessSpec
from pinecone.errors import ApiError, ConflictError, ForbiddenError, NotFoundError, PineconeTimeoutError
from pinecone.grpc import GrpcIndex

from tests.running import RunningServer

APPLES = [
    {
        "_id": "rec1",
        "chunk_text": "Apples are a great source of dietary fiber, which supports digestion and helps maintain a healthy gut.",
        "category": "digestive system",
    },
    {
        "_id": "rec2",
        "chunk_text": "Apples originated in Central Asia and have been cultivated for thousands of years, with over 7,500 varieties available today.",
        "category": "cultivation",
    },
    {
        "_id": "rec3",
        "chunk_text": "Rich in vitamin C and other antioxidants, apples contribute to immune health and may reduce the risk of chronic diseases.",
        "category": "immune system",
    },
    {
        "_id": "rec4",
        "chunk_text": "The high fiber content in apples can also help regulate blood sugar levels, making them a favorable snack for people with diabetes.",
        "category": "endocrine system",
    },
]
FIELDS = ["category", "chunk_text"]
RERANK = {"model": "bge-reranker-v2-m3", "top_n": 2, "rank_fields": ["chunk_text"]}


@pytest.fixture(scope="module")
def index(minilm_server: RunningServer) -> Iterator[Any]:
    with Pinecone(api_key="anything").Index(host=minilm_server.url) as index:
        index.upsert_records(namespace="example-namespace", records=APPLES)
        yield index


def ids(response: Any) -> list[str]:
    return [hit.id for hit in response.result.hits]


def test_text_is_searched_and_reranked(index: Any) -> None:
    inputs = {"text": "Disease prevention"}
    found = index.search(namespace="example-namespace", top_k=4, inputs=inputs, fields=FIELDS, rerank=RERANK)
    assert ids(found) == ["rec3", "rec4"]
    assert found.result.hits[0].fields == {name: APPLES[2][name] for name in FIELDS}
    assert 0 < found.result.hits[1].score < found.result.hits[0].score < 1
    assert found.usage.embed_total_tokens == 4
    assert found.usage.rerank_units == 1
    assert found.usage.read_units > 0


@pytest.mark.parametrize("query", [{"vector": [0.3] * 384}, {"id": "rec1"}], ids=["vector", "id"])
def test_a_vector_or_a_record_is_searched_and_reranked(index: Any, query: dict[str, Any]) -> None:
    rerank = {**RERANK, "query": "Disease prevention"}
    found = index.search(namespace="example-namespace", top_k=4, fields=FIELDS, rerank=rerank, **query)
    assert ids(found) == ["rec3", "rec4"]


def test_meaning_and_not_words_is_found(index: Any) -> None:
    found = index.search(namespace="example-namespace", top_k=1, inputs={"text": "history of farming"})
    assert ids(found) == ["rec2"]
    assert set(found.result.hits[0].fields) == {"chunk_text", "category"}


def test_a_filter_keeps_what_it_says(index: Any) -> None:
    kept = {"category": {"$in": ["cultivation", "immune system"]}}
    found = index.search(namespace="example-namespace", top_k=4, inputs={"text": "healthy"}, filter=kept)
    assert set(ids(found)) == {"rec2", "rec3"}


def test_batches_one_after_another_arrive(index: Any, namespace: str) -> None:
    rows = [{"id": f"r{n}", "chunk_text": f"number {n}", "n": n} for n in range(200)]
    for start in range(0, 200, 96):
        index.upsert_records(namespace=namespace, records=rows[start : start + 96])
    found = index.search(namespace=namespace, top_k=1000, inputs={"text": "number 7"}, fields=["n"])
    assert sorted(int(hit.fields["n"]) for hit in found.result.hits) == list(range(200))


def test_write_numbers_reach_the_client(index: Any, namespace: str) -> None:
    written = index.upsert_records(namespace=namespace, records=[{"_id": "a", "chunk_text": "x"}])
    seen = index.search(namespace=namespace, top_k=1, id="a")
    assert seen.response_info.is_reconciled(written.response_info.lsn_committed)


def test_errors_are_the_clients_own(index: Any) -> None:
    with pytest.raises(ApiError) as caught:
        index.search(namespace="x", top_k=1, inputs={"text": "x"}, filter={"a": {"$x": 1}})
    error = caught.value
    assert (error.status_code, error.reason) == (400, "Bad Request")
    assert "unknown operator $x" in str(error)
    with pytest.raises(NotFoundError, match="available for rerank"):
        rerank = {"model": "nope", "rank_fields": ["chunk_text"]}
        index.search(namespace="x", top_k=1, inputs={"text": "x"}, rerank=rerank)


@pytest.mark.anyio
async def test_the_asynchronous_client_works_too(minilm_server: RunningServer, namespace: str) -> None:
    async with AsyncPinecone(api_key="anything") as client, client.IndexAsyncio(host=minilm_server.url) as index:
        await index.upsert_records(namespace=namespace, records=APPLES)
        found = await index.search(namespace=namespace, top_k=4, inputs={"text": "Disease prevention"}, rerank=RERANK)
        assert ids(found) == ["rec3", "rec4"]


VECTORS = [
    {"id": "a", "values": [1.0, 0.0], "metadata": {"genre": "drama", "year": 2019, "tags": ["x", "y"]}},
    {"id": "b", "values": [0.8, 0.6], "metadata": {"genre": "comedy", "year": 2020}},
    {"id": "c", "values": [0.0, 1.0], "metadata": {"genre": "drama", "year": 2021}},
]


@pytest.fixture
def vectors(plain_servers: Callable[[str], RunningServer], namespace: str) -> Iterator[Any]:
    with Pinecone(api_key="anything").Index(host=plain_servers("cosine").url) as index:
        assert index.upsert(vectors=VECTORS, namespace=namespace).upserted_count == 3
        yield index


def test_vectors_are_queried_fetched_and_listed(vectors: Any, namespace: str) -> None:
    found = vectors.query(vector=[1.0, 0.0], top_k=2, namespace=namespace, include_values=True, include_metadata=True)
    assert [match.id for match in found.matches] == ["a", "b"]
    assert found.matches[0].score == pytest.approx(1.0)
    assert list(found.matches[0].values) == [1.0, 0.0]
    assert found.matches[1].metadata == {"genre": "comedy", "year": 2020}
    assert found.usage.read_units == 1
    kept = vectors.query(vector=[1.0, 0.0], top_k=3, namespace=namespace, filter={"year": {"$gte": 2020}})
    assert [match.id for match in kept.matches] == ["b", "c"]
    assert set(vectors.fetch(ids=["a", "nobody"], namespace=namespace).vectors) == {"a"}
    by_metadata = vectors.fetch_by_metadata(filter={"genre": {"$eq": "drama"}}, namespace=namespace)
    assert set(by_metadata.vectors) == {"a", "c"}
    assert sorted(
        str(getattr(item, "id", item)) for page in vectors.list(namespace=namespace, limit=2) for item in page
    ) == ["a", "b", "c"]
    assert vectors.describe_index_stats().namespaces[namespace].vector_count == 3


def test_vectors_are_updated_and_deleted(vectors: Any, namespace: str) -> None:
    vectors.update(id="a", set_metadata={"genre": "mystery"}, namespace=namespace)
    assert vectors.fetch(ids=["a"], namespace=namespace).vectors["a"].metadata["genre"] == "mystery"
    counted = vectors.update(filter={"genre": "drama"}, set_metadata={"old": True}, namespace=namespace, dry_run=True)
    assert counted.matched_records == 1
    vectors.delete(ids=["b"], namespace=namespace)
    vectors.delete(filter={"genre": {"$eq": "mystery"}}, namespace=namespace)
    assert set(vectors.fetch(ids=["a", "b", "c"], namespace=namespace).vectors) == {"c"}
    vectors.delete(delete_all=True, namespace=namespace)
    assert vectors.query(vector=[1.0, 0.0], top_k=3, namespace=namespace).matches == []
    with pytest.raises(NotFoundError, match="Namespace not found"):
        vectors.delete(ids=["a"], namespace=namespace + "-never")


def test_namespaces_are_managed(vectors: Any, namespace: str) -> None:
    vectors.create_namespace(name=namespace + "-made", schema={"fields": {"genre": {"filterable": True}}})
    assert vectors.describe_namespace(name=namespace + "-made").record_count == 0
    page = vectors.list_namespaces_paginated(prefix=namespace, limit=100)
    assert [one.name for one in page.namespaces] == [namespace, namespace + "-made"]
    vectors.delete_namespace(name=namespace)
    with pytest.raises(NotFoundError):
        vectors.describe_namespace(name=namespace)


def test_sparse_vectors_are_served(plain_servers: Callable[[str], RunningServer], namespace: str) -> None:
    with Pinecone(api_key="anything").Index(host=plain_servers("sparse").url) as index:
        rows = [{"id": str(n), "sparse_values": {"indices": [n, 100], "values": [1.0, n + 0.5]}} for n in range(3)]
        index.upsert(vectors=rows, namespace=namespace)
        found = index.query(sparse_vector={"indices": [100], "values": [2.0]}, top_k=2, namespace=namespace)
        assert [(match.id, match.score) for match in found.matches] == [("2", 5.0), ("1", 3.0)]


def test_one_query_over_many_namespaces(vectors: Any, namespace: str) -> None:
    others = [f"{namespace}-{n}" for n in range(10)]
    for n, other in enumerate(others):
        vectors.upsert(vectors=[{"id": f"v{n}", "values": [1.0, n / 10]}], namespace=other)
    found = vectors.query_namespaces(vector=[1.0, 0.0], namespaces=others, metric="cosine", top_k=3)
    assert [match.id for match in found.matches] == ["v0", "v1", "v2"]


@pytest.mark.anyio
async def test_the_asynchronous_client_does_all_of_it(
    plain_servers: Callable[[str], RunningServer], namespace: str
) -> None:
    url = plain_servers("cosine").url
    async with AsyncPinecone(api_key="anything") as client, client.IndexAsyncio(host=url) as index:
        assert (await index.upsert(vectors=VECTORS, namespace=namespace)).upserted_count == 3
        found = await index.query(id="a", top_k=3, namespace=namespace, filter={"genre": "drama"})
        assert [match.id for match in found.matches] == ["a", "c"]
        assert set((await index.fetch(ids=["a", "b"], namespace=namespace)).vectors) == {"a", "b"}
        kept = await index.fetch_by_metadata(filter={"year": {"$gt": 2019}}, namespace=namespace, limit=1)
        assert set(kept.vectors) == {"b"}
        assert kept.pagination.next
        page = await index.list_paginated(namespace=namespace, prefix="a")
        assert [item.id for item in page.vectors] == ["a"]
        await index.update(id="a", values=[0.0, 1.0], namespace=namespace)
        assert list((await index.fetch(ids=["a"], namespace=namespace)).vectors["a"].values) == [0.0, 1.0]
        changed = await index.update(filter={"genre": "drama"}, set_metadata={"n": 1}, namespace=namespace)
        assert changed.matched_records == 2
        await index.delete(filter={"n": 1}, namespace=namespace)
        assert (await index.describe_index_stats()).namespaces[namespace].vector_count == 1
        await index.create_namespace(name=namespace + "-made")
        assert (await index.describe_namespace(name=namespace + "-made")).record_count == 0
        listed = await index.list_namespaces_paginated(prefix=namespace)
        assert [one.name for one in listed.namespaces] == [namespace, namespace + "-made"]
        await index.delete_namespace(name=namespace)
        await index.delete(delete_all=True, namespace=namespace + "-made")


def test_indexes_are_made_found_by_name_configured_and_deleted(control_server: RunningServer) -> None:
    name = f"made-{uuid4().hex[:8]}"
    with Pinecone(api_key="anything", host=control_server.url) as client:
        lifecycle(client, name)


def lifecycle(client: Any, name: str) -> None:
    client.create_index(name, dimension=2, spec=ServerlessSpec(cloud="aws", region="us-east-1"), tags={"a": "b"})
    assert client.has_index(name)
    assert name in [index.name for index in client.list_indexes()]
    found = client.describe_index(name)
    assert (found.dimension, found.metric, found.status.ready, found.tags) == (2, "cosine", True, {"a": "b"})
    with pytest.raises(ConflictError):
        client.create_index(name, dimension=2, spec=ServerlessSpec(cloud="aws", region="us-east-1"))
    with client.Index(name) as index:
        assert index.upsert(vectors=VECTORS).upserted_count == 3
    client.configure_index(name, tags={"a": "", "c": "d"}, deletion_protection="enabled")
    assert client.describe_index(name).tags == {"c": "d"}
    with pytest.raises(ForbiddenError, match="Deletion protection is enabled for this index"):
        client.delete_index(name)
    client.configure_index(name, deletion_protection="disabled")
    client.delete_index(name)
    assert not client.has_index(name)
    with pytest.raises(NotFoundError):
        client.describe_index(name)


def test_the_grpc_client_does_it_too(plain_servers: Callable[[str], RunningServer], namespace: str) -> None:
    index: Any
    with GrpcIndex(host=plain_servers("dotproduct").url, api_key="anything", secure=False) as index:
        every_grpc_operation(index, namespace)


def every_grpc_operation(index: Any, namespace: str) -> None:
    sparse = {"indices": [1, 7], "values": [0.5, 2.0]}
    rows = [{**VECTORS[0], "sparse_values": sparse}, *VECTORS[1:]]
    assert index.upsert(vectors=rows, namespace=namespace).upserted_count == 3
    found = index.query(
        vector=[1.0, 0.0],
        sparse_vector={"indices": [7], "values": [1.0]},
        top_k=2,
        namespace=namespace,
        include_metadata=True,
        include_values=True,
    )
    assert [(match.id, match.score) for match in found.matches] == [("a", 3.0), ("b", pytest.approx(0.8))]
    assert found.matches[0].metadata == VECTORS[0]["metadata"]
    assert list(found.matches[0].sparse_values.indices) == [1, 7]
    assert index.update(filter={"genre": "drama"}, set_metadata={"old": True}, namespace=namespace).matched_records == 2
    assert [str(getattr(item, "id", item)) for page in index.list(namespace=namespace) for item in page] == [
        "a",
        "b",
        "c",
    ]
    index.delete(filter={"old": True}, namespace=namespace)
    assert set(index.fetch(ids=["a", "b", "c"], namespace=namespace).vectors) == {"b"}
    assert index.describe_index_stats().namespaces[namespace].vector_count == 1
    with pytest.raises(ApiError, match="Vector dimension 3 does not match"):
        index.query(vector=[1.0, 2.0, 3.0], top_k=1, namespace=namespace)
    with pytest.raises(PineconeTimeoutError):
        index.query(vector=[1.0, 2.0], top_k=1, namespace=namespace, timeout=1e-6)
    with pytest.raises(NotFoundError, match="Namespace not found"):
        index.delete(ids=["a"], namespace=namespace + "-never")


def test_texts_are_embedded_and_reranked_on_request(minilm_server: RunningServer) -> None:
    with Pinecone(api_key="anything", host=minilm_server.url) as client:
        every_inference_operation(client.inference)


def every_inference_operation(inference: Any) -> None:
    dense = inference.embed("multilingual-e5-large", ["apples", "stars"], {"input_type": "passage"})
    assert [len(item.values) for item in dense.data] == [1024, 1024]
    sparse = inference.embed("pinyon-bm25", ["apples"], {"input_type": "query", "return_tokens": True})
    assert sparse.data[0].sparse_tokens == ["appl"]
    ranked = inference.rerank("bge-reranker-v2-m3", "fruit", ["a star", "an apple"], top_n=1)
    assert [row.index for row in ranked.data] == [1]
    assert "multilingual-e5-large" in [model.model for model in inference.list_models()]
