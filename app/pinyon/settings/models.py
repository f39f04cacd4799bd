"""The [models] section."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pinyon.settings.forms import MODEL_SOURCE, Activation, Pooling


class OwnModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A [models.NAME] section: a model of the user's own. What is not set is read from the model's own files.

    source: hub:OWNER/NAME, hub:OWNER/NAME@REVISION, or the absolute path of a folder. query_prefix, passage_prefix: put
    before every text; a cross-encoder has only the first. dimensions: shorter lengths to which vectors may be cut.
    metric: the default of its indexes. activation: of a cross-encoder. languages: that an embedding model knows, in
    Latin letters, if they are few: its similarities count less for queries in others.
    """

    source: Annotated[str, Meta(pattern=MODEL_SOURCE)]
    query_prefix: str | None = None
    passage_prefix: str | None = None
    pooling: Pooling | None = None
    normalize: bool | None = None
    metric: Literal["cosine", "dotproduct", "euclidean"] | None = None
    max_tokens: Annotated[int, Meta(ge=8)] | None = None
    dimension: Annotated[int, Meta(ge=1)] | None = None
    dimensions: tuple[Annotated[int, Meta(ge=1)], ...] | None = None
    truncate: Literal["END", "NONE"] = "END"
    activation: Activation | None = None
    languages: tuple[str, ...] = ()


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [models] section: which machine-learning models answer."""

    models_dir: Annotated[
        str,
        Meta(
            description="Folder of weights/; relative to the checkout or, in an installed package, to the user's "
            "data folder."
        ),
    ] = "models"
    stand_ins: Annotated[
        bool,
        Meta(description="Let a local model answer for a hosted model whose weights are missing, and say so."),
    ] = False
    quick: Annotated[
        bool,
        Meta(
            description="For tests: answer for every model by words alone, without loading any, and say so; meaning is "
            "not understood."
        ),
    ] = False
    mix: Annotated[
        bool,
        Meta(
            description="Allow a text search among vectors that callers embedded themselves although a stand-in "
            "embeds the query."
        ),
    ] = False
    offline: Annotated[bool, Meta(description="Never use the network, not even for `pinyon models pull`.")] = False
    preload: Annotated[
        tuple[str, ...],
        Meta(description="Rerankers to load before /ready succeeds, if their weights are on this machine."),
    ] = ("bge-reranker-v2-m3",)
    precision: Annotated[
        Literal["auto", "remembered", "fp32", "bf16", "int8", "openvino", "openvino-bf16"],
        Meta(
            description="How models are computed: auto measures in the background what is fastest, remembered does "
            "not, or one for all."
        ),
    ] = "auto"
    threads: Annotated[int, Meta(ge=0, description="Threads for one model call; 0 uses every core.")] = 0
    queue: Annotated[
        int, Meta(ge=1, description="Number of model calls that may wait; beyond that, requests get 503 immediately.")
    ] = 256
    query_cache_bytes: Annotated[int, Meta(ge=0, description="Cache size for the vectors of recent query texts.")] = (
        33_554_432
    )
    token_cache_bytes: Annotated[
        int, Meta(ge=0, description="Cache size for the token vectors of documents that late interaction reranked.")
    ] = 268_435_456
    paths: Annotated[dict[str, str], Meta(description="Absolute folders of weights, by model name.")] = msgspec.field(
        default_factory=dict
    )
    own: Annotated[dict[str, OwnModel], Meta(description="The [models.NAME] sections, by name.")] = msgspec.field(
        default_factory=dict
    )
