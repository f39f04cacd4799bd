"""The entries of all models of an installation: those of the manifest, and the user's own."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pinyon.domain import Metric
from pinyon.errors import FailedPrecondition
from pinyon.inference.model_files import installed, model_config, weights
from pinyon.inference.model_files.installed import Pin
from pinyon.inference.model_files.manifest import ModelEntry, load_manifest
from pinyon.inference.model_files.model_config import Method, ModelConfig
from pinyon.search.text.languages import latin
from pinyon.settings import OwnModel
from pinyon.shipped import shipped_model

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""Names of models of the user's own; their weights are in a folder of this name."""
FOR_VECTORS = ("pooling", "normalize", "metrics", "dimension", "dimensions", "languages")
USELESS: dict[Method, tuple[str, ...]] = {
    "embedding": ("activation",),
    "cross-encoder": ("passage_prefix", *FOR_VECTORS),
    "late-interaction": ("activation", *FOR_VECTORS),
}
"""What a user cannot set for a model, by its method."""
ALL_METRICS: tuple[Metric, ...] = ("cosine", "dotproduct", "euclidean")


def all_entries(models_dir: Path, paths: Mapping[str, str], own: Mapping[str, OwnModel]) -> dict[str, ModelEntry]:
    """Every model by name. What an entry does not say is read from the files of the model, if they are here.

    paths: folders of weights from the settings; a name that the manifest does not have is a model of the user's own.
    own: the [models.NAME] sections. Raises FailedPrecondition if a model of the user's own cannot be used.
    """
    known = installed.read(models_dir)
    entries = {name: _complete(name, entry, models_dir, paths) for name, entry in catalogued(models_dir).items()}
    for name, model in own_models(entries, paths, own, known.added).items():
        try:
            entries[name] = _own(name, model, known.pins.get(name), models_dir)
        except FailedPrecondition as error:
            raise FailedPrecondition(f"Your own model '{name}' cannot be used: {error.message}") from error
    return entries


def catalogued(models_dir: Path) -> dict[str, ModelEntry]:
    """The models of the manifest. Where it has no hash, the one that the first pull recorded counts."""
    pins = installed.read(models_dir).pins
    entries = load_manifest(shipped_model(models_dir, "manifest.toml"))
    return {name: _pinned(entry, pins.get(name)) for name, entry in entries.items()}


def own_models(
    entries: Mapping[str, ModelEntry],
    paths: Mapping[str, str],
    own: Mapping[str, OwnModel],
    added: Mapping[str, OwnModel],
) -> dict[str, OwnModel]:
    """The user's own models by name: those that were added, and those of the settings, which win.

    Raises FailedPrecondition if the settings give a name of the manifest to one, or a name that cannot be a folder's.
    """
    for name in own:
        check_name(name)
        if name in entries:
            raise FailedPrecondition(
                f"The section [models.{name}] has the name of a model of the catalogue; take another name, or name its "
                "folder of weights in [models.paths]"
            )
    in_paths = {name: OwnModel(folder) for name, folder in paths.items() if name not in entries}
    return {**{name: model for name, model in added.items() if name not in entries}, **in_paths, **own}


def check_name(name: str) -> None:
    """Raises FailedPrecondition if a model of the user's own cannot have this name."""
    if not re.fullmatch(NAME, name):
        raise FailedPrecondition(
            "A model's name must have letters, digits, hyphens, underscores and dots only, and begin with a letter or "
            f"a digit; it has at most 100 characters, got {name[:120]!r}"
        )


def own_entry(model: OwnModel, pin: Pin | None = None) -> ModelEntry:
    """The entry of a model of the user's own, before its files are read.

    Raises FailedPrecondition for a language that cannot be detected.
    """
    if unknown := [name for name in model.languages if name not in latin()]:
        raise FailedPrecondition(f"`languages` has {unknown[0]!r}; it may have {', '.join(sorted(latin()))}")
    place, _, rest = model.source.partition(":")
    repository, _, revision = rest.partition("@")
    entry = ModelEntry(
        kind="embed",
        description="Your own model",
        provider="you",
        licence="yours",
        source=f"hub:{repository}" if place == "hub" else f"folder:{model.source}",
        max_tokens=model.max_tokens or 0,
        truncate=model.truncate,
        revision=revision or None,
        pinned="first pull",
        own=True,
        dimension=model.dimension,
        dimensions=model.dimensions or (),
        query_prefix=model.query_prefix,
        passage_prefix=model.passage_prefix,
        pooling=model.pooling or "",
        normalize=model.normalize,
        activation=model.activation,
        metrics=() if model.metric is None else _first(model.metric),
        languages=model.languages,
    )
    return _pinned(entry, pin)


def described(entry: ModelEntry, config: ModelConfig) -> ModelEntry:
    """The entry with what it does not say taken from the files of the model.

    Raises FailedPrecondition if they contradict each other.
    """
    kind = "embed" if config.method == "embedding" else "rerank"
    if entry.own:
        entry = msgspec.structs.replace(entry, kind=kind, description=f"Your own model ({config.method})")
    if kind != entry.kind:
        raise FailedPrecondition(f"Its files hold a model for {kind}, the catalogue says {entry.kind}")
    if kind == "embed" and not (entry.dimension or config.dimension):
        raise FailedPrecondition("Its files do not say the length of its vectors; set `dimension`")
    if entry.own and entry.max_tokens > config.most_tokens:
        raise FailedPrecondition(
            f"`max_tokens` is {entry.max_tokens}, but it reads at most {config.most_tokens} tokens"
        )
    if entry.own:
        _check_changes(entry, config)
    dimension = entry.dimension or config.dimension
    lengths = {*entry.dimensions, *config.dimensions}
    if entry.own:
        lengths.add(config.dimension or dimension)
    max_tokens = entry.max_tokens or config.max_tokens
    if entry.pinned and not entry.own:  # a description of the weights themselves, and not of a hosted service
        max_tokens = min(max_tokens, config.max_tokens)
    return msgspec.structs.replace(
        entry,
        max_tokens=max_tokens,
        query_prefix=config.query_prefix if entry.query_prefix is None else entry.query_prefix,
        passage_prefix=config.passage_prefix if entry.passage_prefix is None else entry.passage_prefix,
        pooling=entry.pooling or config.pooling,
        normalize=config.normalized if entry.normalize is None else entry.normalize,
        dimension=dimension if kind == "embed" else None,
        dimensions=tuple(sorted(lengths - {dimension})) if kind == "embed" else (),
        metrics=entry.metrics or (_first(config.metric) if kind == "embed" else ()),
    )


def _check_changes(entry: ModelEntry, config: ModelConfig) -> None:
    """Raises FailedPrecondition if the user set what such a model does not have, or longer vectors than it has."""
    useless = USELESS[config.method]
    if config.method == "embedding" and not config.pooling:
        useless = (*useless, "pooling")
    for setting in useless:
        if getattr(entry, setting) not in (None, "", ()):
            shown = "metric" if setting == "metrics" else setting
            raise FailedPrecondition(f"`{shown}` is set, but this kind of model ({config.method}) does not have it")
    most = max((config.dimension, *config.dimensions))
    asked = max((entry.dimension or 0, *entry.dimensions))
    if most and asked > most:
        raise FailedPrecondition(f"Its vectors have {most} numbers, which is fewer than the {asked} that are asked for")


def _own(name: str, model: OwnModel, pin: Pin | None, models_dir: Path) -> ModelEntry:
    entry = own_entry(model, pin)
    folder = weights.locate(name, entry, models_dir, {})
    if folder is None and entry.source.startswith("hub:"):
        raise FailedPrecondition(f"Its weights are not on this machine; `pinyon models pull {name}` fetches them")
    if pin is not None and entry.sha256 is None and folder == models_dir / "weights" / name:
        raise FailedPrecondition(
            f"Its weights on this machine came from {pin.source}, revision {pin.revision[:12]}; `pinyon models pull "
            f"{name}` fetches those of {model.source}"
        )
    if folder is None:
        raise FailedPrecondition(f"{model.source} is not a folder of weights in safetensors with their config.json")
    return described(entry, model_config.read(folder))


def _complete(name: str, entry: ModelEntry, models_dir: Path, paths: Mapping[str, str]) -> ModelEntry:
    """The entry of the manifest, with what its files say. Damaged files are found when they are checked or loaded."""
    if entry.source in ("builtin", "none") or (entry.base is not None):
        return entry
    folder = weights.locate(name, entry, models_dir, paths)
    try:
        return entry if folder is None else described(entry, model_config.read(folder))
    except FailedPrecondition:
        return entry


def from_hub(entry: ModelEntry, pin: Pin | None) -> ModelEntry:
    """The entry of what a model of a package is on the hub. pin: what the first pull of it brought."""
    on_hub = msgspec.structs.replace(
        entry, source=f"hub:{entry.hub}", revision=None, sha256=None, pinned="first pull", file=None, files={}
    )
    return _pinned(on_hub, pin)


def _pinned(entry: ModelEntry, pin: Pin | None) -> ModelEntry:
    if entry.hub is not None and pin is not None and pin.source == f"hub:{entry.hub}":
        return msgspec.structs.replace(entry, hub_sha256=pin.sha256)
    if entry.sha256 is not None or pin is None or pin.source != entry.source:
        return entry
    if entry.revision not in (None, pin.revision, pin.asked):
        return entry
    return msgspec.structs.replace(entry, revision=pin.revision, sha256=pin.sha256)


def _first(metric: Metric) -> tuple[Metric, ...]:
    return (metric, *(each for each in ALL_METRICS if each != metric))
