"""Tour: dense vectors, and namespaces."""

from typing import Any

from checks import close, equal, refused, true
from pinecone import Vector
from tour_indexes import SPEC
from transports import Connection
from versions import MAJOR, BadRequest, NotFound, listed_ids, listed_namespaces

VECTORS: list[Any] = [
    {"id": "doc1#a", "values": [1.0, 0.0, 0.0, 0.0], "metadata": {"genre": "drama", "year": 2019, "tags": ["x", "y"]}},
    {"id": "doc1#b", "values": [0.8, 0.6, 0.0, 0.0], "metadata": {"genre": "comedy", "year": 2020}},
    {"id": "doc2#c", "values": [0.0, 1.0, 0.0, 0.0], "metadata": {"genre": "drama", "year": 2021, "ok": True}},
]


def vectors_are_written_and_found(connection: Connection) -> None:
    """Upsert in every form, query by vector and by id, fetch."""
    connection.client.create_index(name="tour-dense", dimension=4, metric="cosine", spec=SPEC)
    index = connection.index("tour-dense")
    equal(index.upsert(vectors=VECTORS, namespace="films").upserted_count, 3)
    others = [("pair", [0.0, 0.0, 1.0, 0.0]), Vector(id="object", values=[0.0, 0.0, 0.0, 1.0], metadata={"n": 1.5})]
    equal(index.upsert(vectors=[others[0]], namespace="others").upserted_count, 1)
    equal(index.upsert(vectors=[others[1]], namespace="others").upserted_count, 1)

    query = {"top_k": 2, "namespace": "films"}
    found = index.query(vector=[1.0, 0.0, 0.0, 0.0], include_values=True, include_metadata=True, **query)
    equal([match.id for match in found.matches], ["doc1#a", "doc1#b"])
    close([match.score for match in found.matches], [1.0, 0.8])
    close(found.matches[1].values, [0.8, 0.6, 0.0, 0.0])
    equal(found.matches[0].metadata, {"genre": "drama", "year": 2019, "tags": ["x", "y"]})
    equal(found.namespace, "films")
    true(found.usage.read_units >= 1)
    near = index.query(id="doc1#b", **query)
    equal([match.id for match in near.matches], ["doc1#b", "doc1#a"])
    kept = index.query(
        vector=[1.0, 0.0, 0.0, 0.0],
        filter={"$and": [{"year": {"$gte": 2019}}, {"genre": {"$in": ["drama"]}}]},
        top_k=5,
        namespace="films",
    )
    equal([match.id for match in kept.matches], ["doc1#a", "doc2#c"])

    fetched = index.fetch(ids=["doc1#a", "nobody"], namespace="films")
    equal((fetched.namespace, set(fetched.vectors)), ("films", {"doc1#a"}))
    equal(fetched.vectors["doc1#a"].metadata["year"], 2019)
    wrong = {"vector": [1.0, 0.0], "top_k": 1, "namespace": "films"}
    refused(connection.refusal(BadRequest), "dimension", lambda: index.query(**wrong))
    merged = index.query_namespaces(
        vector=[0.0, 0.0, 1.0, 0.0], namespaces=["films", "others"], metric="cosine", top_k=1
    )
    equal([match["id"] for match in merged.matches], ["pair"])


def vectors_are_listed_changed_and_deleted(connection: Connection) -> None:
    """List with a prefix and in pages, update, delete by id and by filter."""
    index = connection.index("tour-dense")
    equal(listed_ids(index.list(prefix="doc1#", namespace="films")), ["doc1#a", "doc1#b"])
    first = index.list_paginated(limit=2, namespace="films")
    equal(listed_ids([first]), ["doc1#a", "doc1#b"])
    second = index.list_paginated(limit=2, namespace="films", pagination_token=first.pagination.next)
    equal((listed_ids([second]), second.pagination), (["doc2#c"], None))

    index.update(id="doc1#a", values=[0.0, 0.0, 3.0, 4.0], set_metadata={"genre": "mystery"}, namespace="films")
    changed = index.fetch(ids=["doc1#a"], namespace="films").vectors["doc1#a"]
    close(changed.values, [0.0, 0.0, 3.0, 4.0])
    equal(changed.metadata, {"genre": "mystery", "year": 2019, "tags": ["x", "y"]})

    index.delete(ids=["doc1#b", "nobody"], namespace="films")
    index.delete(filter={"genre": {"$eq": "mystery"}}, namespace="films")
    equal(listed_ids(index.list(namespace="films")), ["doc2#c"])
    stats = index.describe_index_stats()
    equal((stats.dimension, stats.total_vector_count), (4, 3))
    equal({name: held.vector_count for name, held in stats.namespaces.items()}, {"films": 1, "others": 2})
    index.delete(delete_all=True, namespace="films")
    equal(listed_ids(index.list(namespace="films")), [])


def namespaces_are_listed_and_deleted(connection: Connection) -> None:
    """The default namespace too."""
    index = connection.index("tour-dense")
    index.upsert(vectors=VECTORS)
    counts = {one.name: int(one.record_count) for one in listed_namespaces(index.list_namespaces())}
    equal(counts.get("__default__"), 3)
    equal(counts.get("others"), 2)
    equal(int(index.describe_namespace(namespace="others").record_count), 2)
    index.delete_namespace(namespace="others")
    true("others" not in [one.name for one in listed_namespaces(index.list_namespaces())])
    missing = connection.refusal(NotFound)
    refused(missing, "not found", lambda: index.describe_namespace(namespace="others"))
    refused(missing, "not found", lambda: index.delete(ids=["a"], namespace="never-written"))
    equal(len(index.query(vector=[1.0, 0.0, 0.0, 0.0], top_k=5).matches), 3)
    index.delete(delete_all=True)


def what_later_clients_add(connection: Connection) -> None:
    """Namespaces of one's own, fetch and update by filter."""
    if MAJOR < 9:
        return
    index = connection.index("tour-dense")
    equal(index.create_namespace(name="planned").name, "planned")
    equal(int(index.describe_namespace(name="planned").record_count), 0)
    index.upsert(vectors=VECTORS, namespace="planned")
    if hasattr(index, "fetch_by_metadata"):
        page = index.fetch_by_metadata(filter={"genre": {"$eq": "drama"}}, namespace="planned", limit=1)
        rest = index.fetch_by_metadata(
            filter={"genre": {"$eq": "drama"}}, namespace="planned", pagination_token=page.pagination.next
        )
        equal(sorted([*page.vectors, *rest.vectors]), ["doc1#a", "doc2#c"])
    change = {"filter": {"genre": {"$eq": "drama"}}, "set_metadata": {"seen": True}, "namespace": "planned"}
    equal(index.update(dry_run=True, **change).matched_records, 2)
    equal(index.update(**change).matched_records, 2)
    equal(index.fetch(ids=["doc2#c"], namespace="planned").vectors["doc2#c"].metadata["seen"], True)


def a_query_of_zeros_lists_records(connection: Connection) -> None:
    """As frameworks do: with a filter, in an index of cosine similarity."""
    index = connection.index("tour-dense")
    index.upsert(vectors=VECTORS, namespace="zeros")
    found = index.query(vector=[0.0] * 4, filter={"genre": "drama"}, top_k=5, namespace="zeros")
    equal([(match.id, match.score) for match in found.matches], [("doc1#a", 0.0), ("doc2#c", 0.0)])
