"""Haystack's document store and retriever. They bring client 10, and make the index themselves."""

import contextlib
import os

from checks import close, equal
from haystack import Document
from haystack_integrations.components.retrievers.pinecone import PineconeEmbeddingRetriever
from haystack_integrations.document_stores.pinecone import PineconeDocumentStore
from pinecone import Pinecone
from pinecone.exceptions import NotFoundException

NAME = "haystack"

if __name__ == "__main__":
    client = Pinecone(api_key=os.environ["PINECONE_API_KEY"])
    with contextlib.suppress(NotFoundException):
        client.delete_index(NAME)
    store = PineconeDocumentStore(index=NAME, namespace="films", dimension=4, metric="cosine", show_progress=False)

    films = {"a": ([1.0, 0.0, 0.0, 0.0], 2019), "b": ([0.8, 0.6, 0.0, 0.0], 2020), "c": ([0.0, 1.0, 0.0, 0.0], 2021)}
    documents = [
        Document(id=name, content=f"film {name}", meta={"year": year, "tags": ["x", name]}, embedding=vector)
        for name, (vector, year) in films.items()
    ]
    equal(store.write_documents(documents), 3)
    equal(store.count_documents(), 3)
    late = {"field": "meta.year", "operator": ">=", "value": 2020}
    equal({document.id for document in store.filter_documents(late)}, {"b", "c"})
    tagged = {"operator": "AND", "conditions": [late, {"field": "meta.tags", "operator": "in", "value": ["c"]}]}
    equal([document.content for document in store.filter_documents(tagged)], ["film c"])

    retriever = PineconeEmbeddingRetriever(document_store=store, top_k=2)
    found = retriever.run(query_embedding=[1.0, 0.0, 0.0, 0.0])["documents"]
    equal([document.id for document in found], ["a", "b"])
    close([document.score for document in found], [1.0, 0.8])
    close(list(found[1].embedding), [0.8, 0.6, 0.0, 0.0])
    equal(found[0].meta, {"year": 2019, "tags": ["x", "a"]})
    kept = retriever.run(query_embedding=[1.0, 0.0, 0.0, 0.0], filters=late)["documents"]
    equal([document.id for document in kept], ["b", "c"])

    store.write_documents([Document(id="d", content="no vector")])
    store.delete_documents(["a", "d"])
    equal({document.id for document in store.filter_documents()}, {"b", "c"})
    client.delete_index(NAME)
