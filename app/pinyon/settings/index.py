"""The [index] section."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pinyon.settings.forms import INDEX_NAME, TEXT_FIELD


class IndexSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [index] section: the index on the main port, created at the first start. Without it there is none."""

    name: Annotated[
        str,
        Meta(
            pattern=INDEX_NAME,
            description="1 to 45 lower-case letters, digits and hyphens, with no hyphen at either end.",
        ),
    ]
    model: Annotated[
        str, Meta(description="Name of an embedding model in models/manifest.toml; empty for an index of vectors only.")
    ] = ""
    vector_type: Annotated[
        Literal["dense", "sparse"], Meta(description="dense or sparse; an embedding model decides this itself.")
    ] = "dense"
    metric: Annotated[
        Literal["", "cosine", "dotproduct", "euclidean"],
        Meta(
            description="cosine, dotproduct or euclidean; if empty, dotproduct for sparse vectors and cosine for "
            "others."
        ),
    ] = ""
    dimension: Annotated[int, Meta(ge=0, description="Length of dense vectors; 0 uses the model's default.")] = 0
    field_map: Annotated[
        dict[Literal["text"], Annotated[str, Meta(pattern=TEXT_FIELD)]],
        Meta(min_length=1, description="The field of a record whose text is embedded."),
    ] = msgspec.field(default_factory=lambda: {"text": "text"})
    read_parameters: Annotated[
        dict[str, Any],
        Meta(
            description="How queries are processed: truncate (END, NONE), retrieval (dense, lexical, hybrid), "
            "mix (of hybrid scores)."
        ),
    ] = msgspec.field(default_factory=lambda: {"truncate": "END"})
    write_parameters: Annotated[
        dict[str, Any],
        Meta(
            description="How texts are processed: truncate (END, NONE), language of the words (auto, english, ...), "
            "diacritics (fold, keep), token_vectors (none, stored: for quick reranking), sparse_model (a learned "
            "sparse model for hybrid searches, or none)."
        ),
    ] = msgspec.field(default_factory=lambda: {"truncate": "END"})
