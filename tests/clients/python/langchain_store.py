"""LangChain's vector store, with embeddings of the inference API. It brings client 7."""

import contextlib
import os

from checks import equal, true
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_pinecone import PineconeVectorStore
from pinecone import Pinecone, ServerlessSpec
from pinecone.exceptions import NotFoundException
from versions import TRUST

NAME = "langchain"
TEXTS = {
    "fiber": "Apples are a great source of dietary fiber, which supports digestion.",
    "origin": "Apples originated in Central Asia and have been cultivated for thousands of years.",
    "vitamin": "Rich in vitamin C and other antioxidants, apples reduce the risk of chronic diseases.",
}


class InferenceEmbeddings(Embeddings):
    """LangChain's interface to /embed."""

    def __init__(self, client: Pinecone) -> None:
        self._client = client

    def _embed(self, texts: list[str], input_type: str) -> list[list[float]]:
        parameters = {"input_type": input_type}
        found = self._client.inference.embed(model="multilingual-e5-large", inputs=texts, parameters=parameters)
        return [list(item.values) for item in found.data]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._embed(texts, "passage")

    def embed_query(self, text: str) -> list[float]:
        return self._embed([text], "query")[0]


if __name__ == "__main__":
    client = Pinecone(api_key=os.environ["PINECONE_API_KEY"], **TRUST)
    with contextlib.suppress(NotFoundException):
        client.delete_index(NAME)
    embeddings = InferenceEmbeddings(client)
    length = len(embeddings.embed_query("how long"))
    equal(length, 1024)
    client.create_index(name=NAME, dimension=length, spec=ServerlessSpec(cloud="aws", region="us-east-1"))
    store = PineconeVectorStore(index=client.Index(NAME), embedding=embeddings, namespace="notes")

    topics = [{"topic": topic, "length": len(text)} for topic, text in TEXTS.items()]
    equal(store.add_texts(list(TEXTS.values()), metadatas=topics, ids=list(TEXTS)), list(TEXTS))
    found = store.similarity_search("history of farming", k=1)
    equal((found[0].page_content, found[0].metadata["topic"]), (TEXTS["origin"], "origin"))
    kept = store.similarity_search("history of farming", k=3, filter={"topic": {"$in": ["fiber", "vitamin"]}})
    equal({document.metadata["topic"] for document in kept}, {"fiber", "vitamin"})
    scored = store.similarity_search_with_score("disease prevention", k=3)
    equal(scored[0][0].metadata["topic"], "vitamin")
    true(scored[0][1] >= scored[1][1] >= scored[2][1], scored)
    diverse = store.max_marginal_relevance_search("apples", k=2, fetch_k=3)
    equal(len({document.page_content for document in diverse}), 2)
    equal(store.as_retriever(search_kwargs={"k": 1}).invoke("what helps digestion")[0].metadata["topic"], "fiber")

    store.add_documents([Document(page_content="Pears are juicy.", metadata={"topic": "pears"})], ids=["pears"])
    store.delete(ids=["fiber"])
    store.delete(filter={"topic": {"$eq": "pears"}})
    left = store.similarity_search("apples", k=10)
    equal({document.metadata["topic"] for document in left}, {"origin", "vitamin"})
    store.delete(delete_all=True)
    equal(store.similarity_search("apples", k=10), [])
    client.delete_index(NAME)
