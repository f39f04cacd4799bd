"""The Python examples of Pinecone's data-plane reference (2025-04), in its order, against Pinyon.

Each function puts in what its example supposes, runs the example as it is on the page, with only the host and the
key changed, and checks what came of it. These examples do not run as they are, on Pinecone neither; REPAIRS says
what was done about it.
"""

from typing import Any

from checks import close, equal, refused, true
from pinecone.exceptions import PineconeException
from reference_page_data import API_KEY, APPLES, NAMESPACE, ReferenceIndexes, vector
from versions import TRUST, listed_hits, listed_ids, listed_namespaces

REPAIRS = {
    "all": "client 7 is told of the server's own authority by ssl_ca_certs; later clients read SSL_CERT_FILE",
    "List vector IDs": "the page's pagination token is made up; the token of the page before is used",
    "List namespaces": "the same; and from client 9 on, list_namespaces() yields pages and not namespaces",
    "Update a vector": "an index of 2 dimensions, because the example's vector has 2 numbers",
}


def delete_vectors(indexes: ReferenceIndexes) -> None:
    """Delete vectors."""
    given = indexes.empty()
    given.upsert(vectors=[vector(f"id-{n}", n / 10) for n in (1, 2, 3)], namespace=NAMESPACE)
    INDEX_HOST = indexes.host()

    from pinecone.grpc import PineconeGRPC as Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    # To get the unique host for an index,
    # see https://docs.pinecone.io/guides/manage-data/target-an-index
    index = pc.Index(host=INDEX_HOST)

    index.delete(ids=["id-1", "id-2"], namespace="example-namespace")

    equal(listed_ids(given.list(namespace=NAMESPACE)), ["id-3"])


def delete_a_namespace(indexes: ReferenceIndexes) -> None:
    """Delete a namespace."""
    given = indexes.empty()
    for namespace in (NAMESPACE, "another-namespace"):
        given.upsert(vectors=[vector("id-1", 0.1)], namespace=namespace)
    INDEX_HOST = indexes.host()

    # Not supported with pinecone["grpc"] extras installed
    from pinecone import Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    index = pc.Index(host=INDEX_HOST)

    index.delete_namespace(namespace="example-namespace")

    equal([held.name for held in listed_namespaces(given.list_namespaces())], ["another-namespace"])


def get_index_stats(indexes: ReferenceIndexes) -> None:
    """Get index stats."""
    given = indexes.empty()
    for namespace in ("example-namespace1", "example-namespace2"):
        given.upsert(vectors=[vector(f"id-{n}", n / 10) for n in (1, 2, 3, 4)], namespace=namespace)
    INDEX_HOST = indexes.host()

    from pinecone.grpc import PineconeGRPC as Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    # To get the unique host for an index,
    # see https://docs.pinecone.io/guides/manage-data/target-an-index
    index = pc.Index(host=INDEX_HOST)

    stats = index.describe_index_stats()

    equal((stats.dimension, stats.index_fullness, stats.total_vector_count), (8, 0, 8))
    counts = {name: summary.vector_count for name, summary in stats.namespaces.items()}
    equal(counts, {"example-namespace1": 4, "example-namespace2": 4})


def describe_a_namespace(indexes: ReferenceIndexes) -> None:
    """Describe a namespace."""
    given = indexes.empty()
    given.upsert(vectors=[vector(f"id-{n}", n) for n in range(1, 201)], namespace=NAMESPACE)
    INDEX_HOST = indexes.host()

    # Not supported with pinecone["grpc"] extras installed
    from pinecone import Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    index = pc.Index(host=INDEX_HOST)

    namespace = index.describe_namespace(namespace="example-namespace")

    print(namespace)

    equal((namespace.name, int(namespace.record_count)), (NAMESPACE, 200))


def fetch_vectors(indexes: ReferenceIndexes) -> None:
    """Fetch vectors."""
    given = indexes.empty()
    values = {"id-1": [0.568879, 0.632687092, 0.856837332] + [0.1] * 5, "id-2": [0.00891787093, 0.581895] + [0.2] * 6}
    vectors = [{"id": name, "values": numbers} for name, numbers in values.items()]
    given.upsert(vectors=[*vectors, vector("id-3", 1.0)], namespace=NAMESPACE)
    INDEX_HOST = indexes.host()

    from pinecone.grpc import PineconeGRPC as Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    # To get the unique host for an index,
    # see https://docs.pinecone.io/guides/manage-data/target-an-index
    index = pc.Index(host=INDEX_HOST)

    fetched = index.fetch(ids=["id-1", "id-2"], namespace="example-namespace")

    equal(fetched.namespace, NAMESPACE)
    equal(set(fetched.vectors), set(values))
    for name, numbers in values.items():
        close(fetched.vectors[name].values, numbers)


def list_vector_ids(indexes: ReferenceIndexes) -> None:
    """List vector IDs."""
    given = indexes.empty()
    names = [f"doc1#chunk{n}" for n in range(1, 6)]
    given.upsert(vectors=[vector(name, 0.1) for name in (*names, "doc2#chunk1")], namespace=NAMESPACE)
    INDEX_HOST = indexes.host()

    from pinecone.grpc import PineconeGRPC as Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    # To get the unique host for an index,
    # see https://docs.pinecone.io/guides/manage-data/target-an-index
    index = pc.Index(host=INDEX_HOST)

    # Implicit pagination using a generator function
    for ids in index.list(prefix="doc1#", namespace="example-namespace"):
        print(ids)

    equal(listed_ids(index.list(prefix="doc1#", namespace=NAMESPACE)), names)
    page = index.list_paginated(prefix="doc1#", limit=3, namespace=NAMESPACE)
    equal(listed_ids([page]), names[:3])
    PAGINATION_TOKEN = page.pagination.next

    # Manual pagination
    results = index.list_paginated(
        prefix="doc1#", limit=3, namespace="example-namespace", pagination_token=PAGINATION_TOKEN
    )

    print(results)

    equal((results.namespace, listed_ids([results]), results.pagination), (NAMESPACE, names[3:], None))
    made_up = "eyJza2lwX3Bhc3QiOiIxMDEwMy0="
    pages = {"prefix": "doc1#", "limit": 3, "namespace": NAMESPACE, "pagination_token": made_up}
    refused(PineconeException, "Invalid pagination token", lambda: index.list_paginated(**pages))


def list_namespaces(indexes: ReferenceIndexes) -> None:
    """List namespaces."""
    given = indexes.empty()
    counts = {"example-namespace": 3, "example-namespace2": 2, "example-namespace3": 1}
    for name, count in counts.items():
        given.upsert(vectors=[vector(f"id-{n}", 0.1) for n in range(count)], namespace=name)
    INDEX_HOST = indexes.host()

    # Not supported with pinecone["grpc"] extras installed
    from pinecone import Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    index = pc.Index(host=INDEX_HOST)

    # Implicit pagination using a generator function
    for namespace in listed_namespaces(index.list_namespaces()):
        print(namespace.name, ":", namespace.record_count)

    equal({one.name: int(one.record_count) for one in listed_namespaces(index.list_namespaces())}, counts)
    page = index.list_namespaces_paginated(limit=2)
    equal([one.name for one in page.namespaces], ["example-namespace", "example-namespace2"])
    PAGINATION_TOKEN = page.pagination.next

    # Manual pagination
    namespaces = index.list_namespaces_paginated(limit=2, pagination_token=PAGINATION_TOKEN)

    print(namespaces)

    equal([(one.name, int(one.record_count)) for one in namespaces.namespaces], [("example-namespace3", 1)])


def search_with_a_vector(indexes: ReferenceIndexes) -> None:
    """Search with a vector. The index is euclidean, as that of the page's answer is: the scores are squared distances."""
    given = indexes.empty()
    genres = {1: "comedy", 2: "documentary", 3: "documentary", 4: "documentary", 5: "documentary"}
    vectors = [vector(f"vec{n}", n / 10, genre=genre) for n, genre in genres.items()]
    given.upsert(vectors=vectors, namespace=NAMESPACE)
    INDEX_HOST = indexes.host()

    from pinecone.grpc import PineconeGRPC as Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    # To get the unique host for an index,
    # see https://docs.pinecone.io/guides/manage-data/target-an-index
    index = pc.Index(host=INDEX_HOST)

    found = index.query(
        namespace="example-namespace",
        vector=[0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3],
        filter={"genre": {"$eq": "documentary"}},
        top_k=3,
        include_values=True,
    )

    equal(found.namespace, NAMESPACE)
    equal(found.matches[0].id, "vec3")
    equal({match.id for match in found.matches}, {"vec2", "vec3", "vec4"})
    for match in found.matches:
        close(match.score, 0.0 if match.id == "vec3" else 0.08)
        close(match.values, [int(match.id[-1]) / 10] * 8)
        true(not match.metadata)
    true(found.usage.read_units >= 1)


def search_with_text(indexes: ReferenceIndexes) -> None:
    """Search with text."""
    indexes.empty().upsert_records(namespace=NAMESPACE, records=APPLES)

    from pinecone import Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    # To get the unique host for an index,
    # see https://docs.pinecone.io/guides/manage-data/target-an-index
    index = pc.Index("docs-example")

    # Search with a query text and rerank the results
    # Supported only for indexes with integrated embedding
    search_with_text = index.search(
        namespace="example-namespace",
        query={"inputs": {"text": "Disease prevention"}, "top_k": 4},
        fields=["category", "chunk_text"],
        rerank={
            "model": "bge-reranker-v2-m3",
            "top_n": 2,
            "rank_fields": ["chunk_text"],  # Specified field must also be included in 'fields'
        },
    )

    print(search_with_text)

    # Search with a query vector and rerank the results
    search_with_vector = index.search(
        namespace="example-namespace",
        query={"vector": {"values": [0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]}, "top_k": 4},
        fields=["category", "chunk_text"],
        rerank={
            "query": "Disease prevention",
            "model": "bge-reranker-v2-m3",
            "top_n": 2,
            "rank_fields": ["chunk_text"],  # Specified field must also be included in 'fields'
        },
    )

    print(search_with_vector)

    # Search with a record ID and rerank the results
    search_with_id = index.search(
        namespace="example-namespace",
        query={"id": "rec1", "top_k": 4},
        fields=["category", "chunk_text"],
        rerank={
            "query": "Disease prevention",
            "model": "bge-reranker-v2-m3",
            "top_n": 2,
            "rank_fields": ["chunk_text"],  # Specified field must also be included in 'fields'
        },
    )

    print(search_with_id)

    for found in (search_with_text, search_with_vector, search_with_id):
        _is_reranked(found)
    equal(search_with_text.usage.embed_total_tokens, 2)


def _is_reranked(found: Any) -> None:
    """Two of the four apples, with their fields and the reranker's scores, best first."""
    hits = listed_hits(found)
    scores = [score for _, score, _ in hits]
    true(len(hits) == 2 and 0 < scores[1] <= scores[0] < 1, hits)
    records = {record["_id"]: record for record in APPLES}
    for name, _, fields in hits:
        equal({"_id": name, **fields}, records[name])
    equal(found.usage.rerank_units, 1)
    true(found.usage.read_units >= 1)


def update_a_vector(indexes: ReferenceIndexes) -> None:
    """Update a vector."""
    given = indexes.empty("docs-example-2d")
    given.upsert(vectors=[vector("id-3", 0.1, 2, genre="drama", year=2020)], namespace=NAMESPACE)
    INDEX_HOST = indexes.host("docs-example-2d")

    from pinecone.grpc import PineconeGRPC as Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    # To get the unique host for an index,
    # see https://docs.pinecone.io/guides/manage-data/target-an-index
    index = pc.Index(host=INDEX_HOST)

    index.update(id="id-3", values=[4.0, 2.0], set_metadata={"genre": "comedy"}, namespace="example-namespace")

    updated = given.fetch(ids=["id-3"], namespace=NAMESPACE).vectors["id-3"]
    equal((list(updated.values), updated.metadata), ([4.0, 2.0], {"genre": "comedy", "year": 2020}))


def upsert_vectors(indexes: ReferenceIndexes) -> None:
    """Upsert vectors."""
    given = indexes.empty()
    INDEX_HOST = indexes.host()

    from pinecone.grpc import PineconeGRPC as Pinecone

    pc = Pinecone(api_key=API_KEY, **TRUST)

    # To get the unique host for an index,
    # see https://docs.pinecone.io/guides/manage-data/target-an-index
    index = pc.Index(host=INDEX_HOST)

    upserted = index.upsert(
        vectors=[
            {
                "id": "vec1",
                "values": [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
                "metadata": {"genre": "comedy", "year": 2020},
            },
            {
                "id": "vec2",
                "values": [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2],
                "metadata": {"genre": "documentary", "year": 2019},
            },
        ],
        namespace="example-namespace",
    )

    equal(upserted.upserted_count, 2)
    vectors = given.fetch(ids=["vec1", "vec2"], namespace=NAMESPACE).vectors
    close(vectors["vec1"].values, [0.1] * 8)
    equal(vectors["vec2"].metadata, {"genre": "documentary", "year": 2019})


EXAMPLES = [
    delete_vectors,
    delete_a_namespace,
    get_index_stats,
    describe_a_namespace,
    fetch_vectors,
    list_vector_ids,
    list_namespaces,
    search_with_a_vector,
    search_with_text,
    update_a_vector,
    upsert_vectors,
]

if __name__ == "__main__":
    indexes = ReferenceIndexes()
    for example in EXAMPLES:
        print(f"--- {example.__name__}")
        example(indexes)
    indexes.delete()
