"""Reading models/manifest.toml: what is known of each model. The file itself explains every key."""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from app.domain import Metric, Truncate
from app.errors import FailedPrecondition


class ModelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of the manifest."""

    kind: Literal["embed", "rerank", "sparse"]
    description: str
    provider: str
    licence: str
    source: str
    max_tokens: int
    truncate: Truncate
    truncations: tuple[Truncate, ...] = ("END", "NONE")
    max_tokens_choices: tuple[int, ...] = ()
    revision: str | None = None
    sha256: str | None = None
    second_source: str | None = None
    unavailable: str | None = None
    dimension: int | None = None
    dimensions: tuple[int, ...] = ()
    max_documents: int = 100
    max_rank_fields: int = 1
    max_chunks_per_doc: int | None = None
    query_prefix: str = ""
    passage_prefix: str = ""
    pooling: str = ""
    metrics: tuple[Metric, ...] = ()
    stand_ins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        place, _, rest = self.source.partition(":")
        if place not in ("package", "hub", "builtin", "none") or (place in ("package", "hub")) != bool(rest):
            raise ValueError(f"source {self.source!r} is not package:..., hub:..., builtin or none")
        if place == "none" and not self.unavailable:
            raise ValueError("source none needs `unavailable`, the reason")
        if place == "hub" and not self.revision:
            raise ValueError("source hub needs a pinned revision")
        if self.kind == "embed" and not self.dimension:
            raise ValueError("an embedding model needs a dimension")


def load_manifest(path: Path) -> dict[str, ModelEntry]:
    """Every model by name. Raises FailedPrecondition with what is wrong in the file."""
    try:
        with path.open("rb") as file:
            entries = msgspec.convert(tomllib.load(file), dict[str, ModelEntry])
    except OSError as error:
        raise FailedPrecondition(f"Cannot read the model catalogue {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise FailedPrecondition(f"The model catalogue {path} is wrong: {error}") from error
    for name, entry in entries.items():
        for other in entry.stand_ins:
            if other not in entries or entries[other].kind != entry.kind:
                raise FailedPrecondition(f"The model catalogue {path} is wrong: {name} cannot stand in by {other}")
    return entries
