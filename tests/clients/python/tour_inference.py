"""Tour: embeddings, reranking and models, without an index."""

from checks import close, equal, refused, true
from transports import Connection
from versions import BadRequest, NotFound, get_model, listed_models

TURKEY = [
    "The capital of Turkey is Ankara.",
    "A turkey is a large bird that lives in North America.",
    "Apples are sweet.",
]


def texts_are_embedded(connection: Connection) -> None:
    """By a dense and by a sparse model."""
    inference = connection.client.inference
    texts = ["Apple is a fruit.", "The moon is far away."]
    dense = inference.embed(model="multilingual-e5-large", inputs=texts, parameters={"input_type": "passage"})
    equal((dense.model, dense.vector_type, len(dense.data)), ("multilingual-e5-large", "dense", 2))
    true(len(dense.data[0].values) == len(dense.data[1].values) > 0)
    true(dense.data[0].values != dense.data[1].values)
    true(dense.usage.total_tokens > 0)
    again = inference.embed(
        model="multilingual-e5-large", inputs=[{"text": texts[0]}], parameters={"input_type": "passage"}
    )
    close(list(again.data[0].values), list(dense.data[0].values))
    sparse = inference.embed(
        model="pinecone-sparse-english-v0", inputs=texts, parameters={"input_type": "query", "return_tokens": True}
    )
    first = sparse.data[0]
    equal((sparse.vector_type, first.vector_type), ("sparse", "sparse"))
    true(len(first.sparse_indices) == len(first.sparse_values) == len(first.sparse_tokens) > 0)
    refused(BadRequest, "input_type", lambda: inference.embed(model="multilingual-e5-large", inputs=texts))


def documents_are_reranked(connection: Connection) -> None:
    """Plain ones, and those with fields."""
    inference = connection.client.inference
    ranked = inference.rerank(
        model="bge-reranker-v2-m3", query="a large bird of North America", documents=TURKEY, top_n=2
    )
    equal((ranked.model, len(ranked.data), ranked.data[0].index), ("bge-reranker-v2-m3", 2, 1))
    equal(ranked.data[0].document["text"], TURKEY[1])
    true(0 <= ranked.data[1].score <= ranked.data[0].score <= 1)
    equal(ranked.usage.rerank_units, 1)
    documents = [{"id": str(n), "body": text} for n, text in enumerate(TURKEY)]
    fields = inference.rerank(
        model="bge-reranker-v2-m3",
        query="a large bird of North America",
        documents=documents,
        rank_fields=["body"],
        return_documents=False,
    )
    equal(fields.data[0].index, 1)
    true(getattr(fields.data[0], "document", None) is None)


def models_are_described(connection: Connection) -> None:
    """Listed by kind, and one by one."""
    inference = connection.client.inference
    true({"multilingual-e5-large", "bge-reranker-v2-m3"} <= set(listed_models(inference.list_models())))
    dense = set(listed_models(inference.list_models(type="embed", vector_type="dense")))
    true("multilingual-e5-large" in dense and "pinecone-sparse-english-v0" not in dense, dense)
    true("bge-reranker-v2-m3" in listed_models(inference.list_models(type="rerank")))
    model = get_model(inference, "multilingual-e5-large")
    equal((model.type, model.vector_type, model.default_dimension), ("embed", "dense", 1024))
    true(model.supported_parameters)
    refused(NotFound, "not found", lambda: get_model(inference, "no-such-model"))
