"""Tour: sparse vectors, and dense ones with a sparse part."""

from checks import close, equal, true
from pinecone import SparseValues
from tour_indexes import SPEC
from transports import Connection
from versions import listed_ids


def sparse_vectors_are_found(connection: Connection) -> None:
    """An index of sparse vectors only."""
    connection.client.create_index(name="tour-sparse", vector_type="sparse", metric="dotproduct", spec=SPEC)
    index = connection.index("tour-sparse")
    vectors = [
        {"id": "a", "sparse_values": {"indices": [1, 5], "values": [0.5, 2.0]}, "metadata": {"kind": "x"}},
        {"id": "b", "sparse_values": {"indices": [5, 4294967295], "values": [1.0, 1.0]}, "metadata": {"kind": "y"}},
        {"id": "c", "sparse_values": {"indices": [9], "values": [1.0]}},
    ]
    equal(index.upsert(vectors=vectors, namespace="words").upserted_count, 3)
    wanted = {"indices": [1, 5], "values": [1.0, 1.0]}
    found = index.query(sparse_vector=wanted, top_k=10, namespace="words", include_values=True, include_metadata=True)
    equal([match.id for match in found.matches], ["a", "b"])
    close([match.score for match in found.matches], [2.5, 1.0])
    equal(list(found.matches[1].sparse_values.indices), [5, 4294967295])
    kept = index.query(
        sparse_vector=SparseValues(indices=[5], values=[1.0]), top_k=10, namespace="words", filter={"kind": "y"}
    )
    equal([match.id for match in kept.matches], ["b"])
    fetched = index.fetch(ids=["a"], namespace="words").vectors["a"]
    close(list(fetched.sparse_values.values), [0.5, 2.0])
    index.update(id="a", sparse_values={"indices": [7], "values": [1.0]}, namespace="words")
    found = index.query(sparse_vector={"indices": [7], "values": [3.0]}, top_k=10, namespace="words")
    equal([(match.id, match.score) for match in found.matches], [("a", 3.0)])
    stats = index.describe_index_stats()
    equal(stats.total_vector_count, 3)
    true(not stats.dimension)
    index.delete(ids=["a"], namespace="words")
    equal(listed_ids(index.list(namespace="words")), ["b", "c"])


def hybrid_vectors_are_found(connection: Connection) -> None:
    """Scores of both parts are added."""
    connection.client.create_index(name="tour-hybrid", dimension=2, metric="dotproduct", spec=SPEC)
    index = connection.index("tour-hybrid")
    vectors = [
        {"id": "a", "values": [1.0, 0.0], "sparse_values": {"indices": [3], "values": [1.0]}},
        {"id": "b", "values": [1.0, 1.0], "sparse_values": {"indices": [4], "values": [5.0]}},
        {"id": "c", "values": [0.5, 0.0]},
    ]
    index.upsert(vectors=vectors)
    found = index.query(vector=[1.0, 0.0], sparse_vector={"indices": [3], "values": [2.0]}, top_k=3)
    equal([match.id for match in found.matches], ["a", "b", "c"])
    close([match.score for match in found.matches], [3.0, 1.0, 0.5])
