"""Where a model's weights are on this machine, and whether they are the right ones. Never touches the network."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import msgspec

from pinyon import failpoints
from pinyon.errors import FailedPrecondition
from pinyon.inference.model_files import checksums
from pinyon.inference.model_files.manifest import ModelEntry
from pinyon.shipped import shipped_model

WEIGHTS_FILE = "model.safetensors"


class Weights(msgspec.Struct, frozen=True):
    """A folder of weights. version: sha256 of the weights file. catalogued: whether the catalogue names that hash."""

    folder: Path
    version: str
    catalogued: bool


def locate(name: str, entry: ModelEntry, models_dir: Path, paths: Mapping[str, str]) -> Path | None:
    """The folder of the weights, or None if they are not here, or not whole.

    Looked for, in this order: the folder the settings name, models/weights/NAME, the package, the hub's local cache.
    Raises FailedPrecondition if the folder the settings name is not one of weights.
    """
    if name in paths:
        chosen = Path(paths[name])
        if not chosen.is_absolute() or not whole(chosen):
            raise FailedPrecondition(
                f'The setting [models.paths] "{name}" must be the absolute path of a folder with config.json and '
                f"{WEIGHTS_FILE}; {chosen} is not"
            )
        return chosen
    local = models_dir / "weights" / name
    if whole(local):
        return local
    place, _, rest = entry.source.partition(":")
    if place == "package":
        return _in_package(rest)
    if place == "shipped":
        folder = shipped_model(models_dir, rest)
        return folder if whole(folder) else None
    if place == "hub":
        return _in_hub_cache(rest, entry.revision)
    return None


def whole(folder: Path) -> bool:
    """Whether a folder has what every model has."""
    return (folder / "config.json").is_file() and (folder / WEIGHTS_FILE).is_file()


def _in_package(source: str) -> Path | None:
    """A folder inside an installed package, found through its file list; the package is never imported."""
    package, _, inside = source.partition("/")
    try:
        folder = Path(str(distribution(package).locate_file(inside)))
    except PackageNotFoundError:
        return None
    return folder if whole(folder) else None


def _in_hub_cache(repository: str, pinned: str | None) -> Path | None:
    """The snapshot of the pinned revision, or else of the branch main as it was when it was fetched."""
    from huggingface_hub import try_to_load_from_cache

    for revision in (pinned, "main"):
        found = try_to_load_from_cache(repository, "config.json", revision=revision)
        if isinstance(found, str) and whole(Path(found).parent):
            return Path(found).parent
    return None


def verify(name: str, entry: ModelEntry, folder: Path) -> Weights:
    """The weights with their hash.

    Packaged weights must be the catalogued ones. Any other folder was filled by the user and may hold other weights
    of the same kind (a fine-tuned model): those answer as they are, and say so. Where the hash of every file was
    written down, all are checked. Raises FailedPrecondition if a file cannot be read, has changed since, or is packaged
    and not the catalogued one.
    """
    failpoints.reach("hash", name)
    try:
        found = checksums.sha256(folder / WEIGHTS_FILE)
        wrong = checksums.check(folder, {WEIGHTS_FILE: found})
    except OSError as error:
        raise FailedPrecondition(f"The weights of {name} in {folder} cannot be read: {error.strerror}") from error
    if wrong:
        raise FailedPrecondition(f"The files of {name} in {folder} are damaged: {', '.join(wrong)} since they came")
    catalogued = found == entry.sha256
    if not catalogued and entry.source.startswith(("package:", "shipped:")):
        raise FailedPrecondition(
            f"The weights of {name} in {folder} are damaged: sha256 is {found}, the catalogue says {entry.sha256}"
        )
    return Weights(folder, found, catalogued)
