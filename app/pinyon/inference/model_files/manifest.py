"""Reads models/manifest.toml, the catalogue of models. The file itself explains every key."""

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from pinyon.domain import Metric, Truncate
from pinyon.errors import FailedPrecondition


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
    base: str | None = None

    def __post_init__(self) -> None:
        place, _, rest = self.source.partition(":")
        if place not in ("package", "hub", "shipped", "builtin", "folder", "none") or (
            place in ("package", "hub", "shipped")
        ) != bool(rest):
            raise ValueError(f"source {self.source!r} is not package:..., hub:..., shipped:..., builtin or none")
        if place == "none" and not self.unavailable:
            raise ValueError("source none needs `unavailable`, the reason")
        if place == "hub" and not self.revision:
            raise ValueError("source hub needs a pinned revision")
        if self.kind == "embed" and not self.dimension:
            raise ValueError("an embedding model needs a dimension")


def load_manifest(path: Path) -> dict[str, ModelEntry]:
    """All models by name. Raises FailedPrecondition, which says what is wrong in the file."""
    try:
        with path.open("rb") as file:
            entries = msgspec.convert(tomllib.load(file), dict[str, ModelEntry])
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


def own_reranker(name: str, folder: Path) -> ModelEntry:
    """An entry for a cross-encoder that is not in the manifest, made from the config.json in its folder.

    Raises FailedPrecondition if it is not a cross-encoder with one score per pair.
    """
    wrong = f'The setting [models.paths] names "{name}", which is not in the model catalogue; its folder {folder}'
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=dict[str, Any])
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise FailedPrecondition(f"{wrong} has no readable config.json: {error}") from error
    kinds = config.get("architectures")
    labels = config.get("id2label") or {"0": ""} if config.get("num_labels", 1) == 1 else {}
    if not isinstance(kinds, list) or not str(kinds[:1]).endswith("ForSequenceClassification']") or len(labels) != 1:
        raise FailedPrecondition(
            f"{wrong} is not that of a cross-encoder with one score (architectures {kinds}); only those can be added"
        )
    positions = config.get("max_position_embeddings")
    # Models of the RoBERTa family count positions from 2 on.
    reads = (positions if isinstance(positions, int) else 512) // 16 * 16
    return ModelEntry(
        "rerank", "Your own cross-encoder", "you", "yours", "folder", reads, "END", unavailable="its folder is gone"
    )
