"""The model list, with who answers to each name."""

from typing import Annotated

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from app.api.rest import schemas
from app.errors import InvalidArgument
from app.inference.manifest import ModelEntry
from app.services.inference import Inference, KnownModel

MAX_BATCH = 96


@get("/models", operation_id="list_models")
async def list_models(
    inference: NamedDependency[Inference],
    kind: Annotated[str | None, QueryParameter(name="type")] = None,
    vector_type: Annotated[str | None, QueryParameter(name="vector_type")] = None,
) -> schemas.ModelInfoList:
    """Every model of the catalogue, filtered by type and vector type."""
    if kind not in (None, "embed", "rerank"):
        raise InvalidArgument("Invalid type, expected one of [embed, rerank]")
    if vector_type not in (None, "dense", "sparse"):
        raise InvalidArgument("Invalid vector_type, expected one of [dense, sparse]")
    if kind == "rerank" and vector_type is not None:
        raise InvalidArgument("vector_type applies to embedding models only")
    models = [_info(model) for model in inference.known_models()]
    return schemas.ModelInfoList([m for m in models if kind in (None, m.type) and vector_type in (None, m.vector_type)])


@get("/models/{model_name:str}", operation_id="get_model")
async def get_model(model_name: FromPath[str], inference: NamedDependency[Inference]) -> schemas.ModelInfo:
    """One model."""
    return _info(inference.known_model(model_name))


def _info(model: KnownModel) -> schemas.ModelInfo:
    entry = model.entry
    embeds = entry.kind != "rerank"
    vector_type = {"embed": "dense", "sparse": "sparse"}.get(entry.kind)
    return schemas.ModelInfo(
        model=model.name,
        short_description=entry.description,
        type="embed" if embeds else "rerank",
        supported_parameters=_parameters(entry),
        modality="text",
        max_sequence_length=entry.max_tokens,
        max_batch_size=MAX_BATCH if embeds else entry.max_documents,
        provider_name=entry.provider,
        vector_type=vector_type,
        default_dimension=entry.dimension,
        supported_dimensions=sorted({entry.dimension, *entry.dimensions}) if entry.dimension else None,
        supported_metrics=list(entry.metrics) or None,
        served_by=model.answer.label if model.answer else None,
        unavailable=model.unavailable,
    )


def _parameters(entry: ModelEntry) -> list[schemas.SupportedParameter]:
    truncate = schemas.SupportedParameter(
        "truncate", "one_of", "string", False, allowed_values=["END", "NONE"], default=entry.truncate
    )
    if entry.kind == "rerank":
        return [truncate]
    input_type = schemas.SupportedParameter("input_type", "one_of", "string", True, allowed_values=["query", "passage"])
    return [input_type, truncate]


router = Router("/", route_handlers=[list_models, get_model])
