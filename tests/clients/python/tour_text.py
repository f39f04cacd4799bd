"""Tour: texts, in an index of a dense and in one of a sparse model."""

from typing import Any

from checks import equal, true
from reference_page_data import APPLES, NAMESPACE
from transports import Connection
from versions import MAJOR, listed_hits

RERANK = {"model": "bge-reranker-v2-m3", "top_n": 2, "rank_fields": ["chunk_text"]}


def _make(connection: Connection, name: str, model: str) -> Any:
    """An index for a model, with a few texts about apples."""
    embed = {"model": model, "field_map": {"text": "chunk_text"}}
    connection.client.create_index_for_model(name=name, cloud="aws", region="us-east-1", embed=embed)
    index = connection.records_index(name)
    index.upsert_records(namespace=NAMESPACE, records=APPLES)
    return index


def _ids(found: Any) -> list[str]:
    return [name for name, _, _ in listed_hits(found)]


def texts_are_found_by_meaning(connection: Connection) -> None:
    """Search by text, by record and by vector; filtered and reranked."""
    index = _make(connection, "tour-e5", "multilingual-e5-large")
    described = connection.client.describe_index("tour-e5")
    equal(described.embed.model, "multilingual-e5-large")
    equal(described.embed.field_map["text"], "chunk_text")

    query: dict[str, Any] = {"inputs": {"text": "Disease prevention"}, "top_k": 4}
    found = index.search(namespace=NAMESPACE, query=query, rerank=RERANK)
    equal(_ids(found), ["rec3", "rec4"])
    equal(found.usage.rerank_units, 1)
    true(found.usage.embed_total_tokens > 0)
    by_record = index.search(namespace=NAMESPACE, query={"id": "rec2", "top_k": 1}, fields=["category"])
    equal([(name, fields) for name, _, fields in listed_hits(by_record)], [("rec2", {"category": "cultivation"})])
    length = index.describe_index_stats().dimension
    true(length)
    by_vector: dict[str, Any] = {"vector": {"values": [0.1] * length}, "top_k": 4}
    equal(len(listed_hits(index.search(namespace=NAMESPACE, query=by_vector))), 4)
    kept = {**query, "filter": {"category": {"$in": ["cultivation", "immune system"]}}}
    equal(set(_ids(index.search(namespace=NAMESPACE, query=kept))), {"rec2", "rec3"})


def texts_are_found_by_words(connection: Connection) -> None:
    """Search by words, and only where all of some words occur."""
    index = _make(connection, "tour-sparse-english", "pinecone-sparse-english-v0")
    query: dict[str, Any] = {"inputs": {"text": "fiber for digestion"}, "top_k": 4}
    found = index.search(namespace=NAMESPACE, query=query)
    equal(_ids(found)[:2], ["rec1", "rec4"])
    equal(_ids(index.search(namespace=NAMESPACE, query={**query, "top_k": 1}, rerank={**RERANK, "top_n": 1})), ["rec1"])
    if MAJOR >= 9:
        terms = {"strategy": "all", "terms": ["fiber", "Blood sugar"]}
        equal(_ids(index.search(namespace=NAMESPACE, query={**query, "match_terms": terms})), ["rec4"])
