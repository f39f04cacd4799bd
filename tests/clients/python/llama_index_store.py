"""LlamaIndex's vector store, with dense vectors of the nodes' own and sparse ones of a toy model. It brings client 9."""

import contextlib
import os

from checks import close, equal
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding, SparseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import MetadataFilters, VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.pinecone import PineconeVectorStore
from pinecone import Pinecone, ServerlessSpec
from pinecone.exceptions import NotFoundException

NAME = "llama-index"
FILMS = {"a": [1.0, 0.0, 0.0, 0.0], "b": [0.8, 0.6, 0.0, 0.0], "c": [0.0, 1.0, 0.0, 0.0]}
RIGHT = [1.0, 0.0, 0.0, 0.0]


class Letters(BaseSparseEmbedding):
    """A sparse model: one term per letter."""

    def _get_text_embedding(self, text: str) -> SparseEmbedding:
        return {ord(letter): 1.0 for letter in text if letter.isalpha()}

    async def _aget_text_embedding(self, text: str) -> SparseEmbedding:
        return self._get_text_embedding(text)

    _get_query_embedding, _aget_query_embedding = _get_text_embedding, _aget_text_embedding


def node(name: str, vector: list[float]) -> TextNode:
    """A text with its vector, from the document `doc-NAME`."""
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{name}")}
    return TextNode(id_=name, text=f"film {name}", embedding=vector, metadata={"name": name}, relationships=source)


def where(operator: str, value: str | list[str]) -> MetadataFilters:
    """A filter on the name."""
    return MetadataFilters.from_dicts([{"key": "name", "value": value, "operator": operator}])


if __name__ == "__main__":
    client = Pinecone(api_key=os.environ["PINECONE_API_KEY"])
    with contextlib.suppress(NotFoundException):
        client.delete_index(NAME)
    spec = ServerlessSpec(cloud="aws", region="us-east-1")
    client.create_index(name=NAME, dimension=4, metric="dotproduct", spec=spec)
    store = PineconeVectorStore(
        pinecone_index=client.Index(NAME), namespace="films", add_sparse_vector=True, sparse_embedding_model=Letters()
    )
    equal(store.add([node(name, vector) for name, vector in FILMS.items()]), ["doc-a#a", "doc-b#b", "doc-c#c"])

    def texts(top_k: int = 2, filters: MetadataFilters | None = None) -> list[str]:
        """What a dense query finds."""
        query = VectorStoreQuery(query_embedding=RIGHT, similarity_top_k=top_k, filters=filters)
        return [found.text for found in store.query(query).nodes or []]

    equal(texts(), ["film a", "film b"])
    equal(texts(filters=where("!=", "a")), ["film b", "film c"])
    equal(texts(filters=where("in", ["c"])), ["film c"])
    hybrid = VectorStoreQuery(
        query_embedding=RIGHT, query_str="c", similarity_top_k=3, mode=VectorStoreQueryMode.HYBRID, alpha=0.25
    )
    found = store.query(hybrid)
    equal([one.text for one in found.nodes or []], ["film c", "film a", "film b"])
    close(found.similarities, [0.75, 0.25, 0.2])
    hybrid.mode = VectorStoreQueryMode.SPARSE
    equal((store.query(hybrid).nodes or [])[0].text, "film c")
    equal([one.text for one in store.get_nodes(filters=where("==", "b"))], ["film b"])

    store.delete("doc-a")
    equal(texts(), ["film b", "film c"])
    store.clear()
    equal(texts(), [])
    client.delete_index(NAME)
