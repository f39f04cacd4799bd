"""The inference routes, and the list of models with the model that answers to each name."""

from typing import Annotated

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter, RawBody

from pinyon.api.headers import model_headers
from pinyon.api.rest.bodies import decode_body
from pinyon.api.rest.schemas import record_schemas
from pinyon.api.rest.schemas.vector_schemas import numbers
from pinyon.errors import InvalidArgument
from pinyon.services.control_plane.readiness import Readiness
from pinyon.services.inference import model_parameters
from pinyon.services.inference.embedded_text import EmbeddedText
from pinyon.services.inference.inference import MAX_INPUTS, Inference, KnownModel


@post("/embed", status_code=200, operation_id="embed")
async def embed(
    body: RawBody, inference: NamedDependency[Inference], readiness: NamedDependency[Readiness]
) -> Response[record_schemas.EmbeddingsList]:
    """Embed texts, densely or sparsely."""
    readiness.check_models()
    data = decode_body(body, record_schemas.EmbedRequest)
    parameters = data.parameters or {}
    result = await inference.embed_by_name(data.model, [text.text for text in data.inputs], parameters)
    with_tokens = bool(parameters.get("return_tokens"))
    answer = record_schemas.EmbeddingsList(
        data.model,
        result.vector_type,
        [_embedding(text, with_tokens) for text in result.texts],
        record_schemas.EmbedUsage(sum(text.tokens for text in result.texts)),
    )
    return Response(answer, headers=model_headers([result.label], sum(text.truncated for text in result.texts)))


@post("/embed/count-tokens", status_code=200, operation_id="pinyon_count_tokens")
async def count_tokens(
    body: RawBody, inference: NamedDependency[Inference], readiness: NamedDependency[Readiness]
) -> Response[record_schemas.TokenCountList]:
    """Count the tokens of texts as an embedding model reads them. An extension of Pinyon."""
    readiness.check_models()
    data = decode_body(body, record_schemas.EmbedRequest)
    counts = await inference.count_tokens(data.model, [text.text for text in data.inputs], data.parameters or {})
    answer = record_schemas.TokenCountList(data.model, counts.max_tokens, counts.tokens)
    return Response(answer, headers=model_headers([counts.label]))


def _embedding(text: EmbeddedText, with_tokens: bool) -> record_schemas.DenseEmbedding | record_schemas.SparseEmbedding:
    if text.sparse is None:
        return record_schemas.DenseEmbedding(numbers(text.vector))
    tokens = text.terms if with_tokens else None
    return record_schemas.SparseEmbedding(
        numbers(text.sparse.values), text.sparse.indices.tolist(), sparse_tokens=tokens
    )


@post("/rerank", status_code=200, operation_id="rerank")
async def rerank(
    body: RawBody, inference: NamedDependency[Inference], readiness: NamedDependency[Readiness]
) -> Response[record_schemas.RerankResult]:
    """Rank documents by their relevance to a query."""
    readiness.check_models()
    data = decode_body(body, record_schemas.RerankRequest)
    fields = data.rank_fields or ["text"]
    result = await inference.rerank_by_name(data.model, data.parameters, data.query, data.documents, fields, data.top_n)
    rows = [
        record_schemas.RankedDocument(place, score, data.documents[place] if data.return_documents else None)
        for place, score in result.ranking
    ]
    answer = record_schemas.RerankResult(data.model, rows, record_schemas.RerankUsage(result.units))
    return Response(answer, headers=model_headers([result.label]))


@get("/models", operation_id="list_models")
async def list_models(
    inference: NamedDependency[Inference],
    kind: Annotated[str | None, QueryParameter(name="type")] = None,
    vector_type: Annotated[str | None, QueryParameter(name="vector_type")] = None,
) -> record_schemas.ModelInfoList:
    """The models of the catalogue, filtered by type and vector type."""
    if kind not in (None, "embed", "rerank"):
        raise InvalidArgument("Invalid type, expected one of [embed, rerank]")
    if vector_type not in (None, "dense", "sparse"):
        raise InvalidArgument("Invalid vector_type, expected one of [dense, sparse]")
    if kind == "rerank" and vector_type is not None:
        raise InvalidArgument("vector_type applies to embedding models only")
    models = [_info(model) for model in inference.known_models()]
    return record_schemas.ModelInfoList(
        [m for m in models if kind in (None, m.type) and vector_type in (None, m.vector_type)]
    )


@get("/models/{model_name:str}", operation_id="get_model")
async def get_model(model_name: FromPath[str], inference: NamedDependency[Inference]) -> record_schemas.ModelInfo:
    """One model."""
    return _info(inference.known_model(model_name))


def _info(model: KnownModel) -> record_schemas.ModelInfo:
    entry = model.entry
    embeds = entry.kind != "rerank"
    vector_type = {"embed": "dense", "sparse": "sparse"}.get(entry.kind)
    return record_schemas.ModelInfo(
        model=model.name,
        short_description=entry.description,
        type="embed" if embeds else "rerank",
        supported_parameters=[
            record_schemas.SupportedParameter(
                parameter.name,
                "one_of" if parameter.allowed else "numeric_range" if parameter.least is not None else "any",
                parameter.value_type,
                parameter.required,
                allowed_values=list(parameter.allowed) if parameter.allowed else None,
                min=parameter.least,
                max=parameter.most,
                default=parameter.default,
            )
            for parameter in model_parameters.parameters_of(entry)
        ],
        modality="text",
        max_sequence_length=entry.max_tokens,
        max_batch_size=MAX_INPUTS if embeds else entry.max_documents,
        provider_name=entry.provider,
        vector_type=vector_type,
        default_dimension=entry.dimension,
        supported_dimensions=sorted({entry.dimension, *entry.dimensions}) if entry.dimension else None,
        supported_metrics=list(entry.metrics) or None,
        served_by=model.answer.label if model.answer else None,
        precision=model.answer.precision if model.answer and model.why else None,
        precision_reason=model.why or None,
        unavailable=model.unavailable,
    )


router = Router("/", route_handlers=[embed, count_tokens, rerank, list_models, get_model])
