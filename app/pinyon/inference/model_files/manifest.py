"""Reads models/manifest.toml, the catalogue of models. The file itself explains every key."""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from pinyon import decoding
from pinyon.domain import Metric, Truncate
from pinyon.errors import FailedPrecondition
from pinyon.settings import Activation


class ModelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model. own: whether it is not in the manifest but the user's own."""

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
    pinned: Literal["first pull"] | None = None
    own: bool = False
    file: str | None = None
    files: dict[str, str] = {}
    second_source: str | None = None
    hub: str | None = None
    hub_sha256: str | None = None
    unavailable: str | None = None
    dimension: int | None = None
    dimensions: tuple[int, ...] = ()
    max_documents: int = 100
    max_rank_fields: int = 1
    max_chunks_per_doc: int | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    pooling: str = ""
    normalize: bool | None = None
    activation: Activation | None = None
    metrics: tuple[Metric, ...] = ()
    languages: tuple[str, ...] = ()
    stand_ins: tuple[str, ...] = ()
    base: str | None = None
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        place, _, rest = self.source.partition(":")
        if place not in ("package", "hub", "shipped", "builtin", "folder", "none") or (
            place in ("package", "hub", "shipped", "folder")
        ) != bool(rest):
            raise ValueError(f"source {self.source!r} is not package:..., hub:..., shipped:..., builtin or none")
        if place == "none" and not self.unavailable:
            raise ValueError("source none needs `unavailable`, the reason")
        if place == "hub" and not self.revision and self.pinned is None:
            raise ValueError('source hub needs a pinned revision, or pinned = "first pull"')
        if self.kind == "embed" and not self.dimension and not self.own:
            raise ValueError("an embedding model needs a dimension")

    @property
    def summary(self) -> str:
        """What the model is and reads, in a few words."""
        vectors = [f"{self.dimension} dimensions"] if self.kind == "embed" else []
        pooling = [f"{self.pooling} pooling"] if self.pooling else []
        return ", ".join([self.description, *vectors, f"{self.max_tokens} tokens", *pooling])

    @property
    def pooled(self) -> str:
        """How fingerprints name the way from the vectors of tokens to that of a text."""
        return f"{self.pooling}+normalize" if self.own and self.normalize else self.pooling


def load_manifest(path: Path) -> dict[str, ModelEntry]:
    """All models by name. Raises FailedPrecondition, which says what is wrong in the file."""
    try:
        with path.open("rb") as file:
            entries = decoding.convert(tomllib.load(file), dict[str, ModelEntry])
    except OSError as error:
        raise FailedPrecondition(f"Cannot read the model catalogue {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise FailedPrecondition(f"The model catalogue {path} is wrong: {error}") from error
    for name, entry in entries.items():
        if entry.base is not None and entry.base not in entries:
            raise FailedPrecondition(f"The model catalogue {path} is wrong: {name} has an unknown base {entry.base}")
        for other in entry.stand_ins:
            if other not in entries or entries[other].kind != entry.kind:
                raise FailedPrecondition(f"The model catalogue {path} is wrong: {name} cannot stand in by {other}")
    return entries
