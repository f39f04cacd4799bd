"""Finds the weights of a model on this machine and checks them. Never uses the network."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import msgspec

from pinyon import failpoints
from pinyon.errors import FailedPrecondition
from pinyon.inference.model_files import checksums, model_config
from pinyon.inference.model_files.manifest import ModelEntry
from pinyon.shipped import shipped_model

WEIGHTS_FILE = "model.safetensors"
"""The file of a model that has all its weights in one."""


class Weights(msgspec.Struct, frozen=True):
    """A folder of weights. version: as version() computes it. catalogued: whether the catalogue has this hash."""

    folder: Path
    version: str
    catalogued: bool


def locate(name: str, entry: ModelEntry, models_dir: Path, paths: Mapping[str, str]) -> Path | None:
    """The folder of the weights, or None if they are missing or incomplete.

    Searched in this order: the folder in the settings, models/weights/NAME, the package, the local cache of the hub.
    Raises FailedPrecondition if the folder in the settings holds no weights.
    """
    if name in paths:
        chosen = Path(paths[name])
        if not chosen.is_absolute() or not is_complete(chosen):
            raise FailedPrecondition(
                f'The setting [models.paths] "{name}" must be the absolute path of a folder with config.json and '
                f"{WEIGHTS_FILE}; {chosen} is not"
            )
        return chosen
    place, _, rest = entry.source.partition(":")
    if place == "folder":
        folder = Path(rest)
        return folder if folder.is_absolute() and is_complete(folder) else None
    local = models_dir / "weights" / name
    if is_complete(local):
        return local
    if place == "package":
        return _in_package(rest, entry) or (None if entry.hub is None else _in_hub_cache(entry.hub, None))
    if place == "shipped":
        folder = shipped_model(models_dir, rest)
        return folder if is_complete(folder) else None
    if place == "hub":
        return _in_hub_cache(rest, entry.revision)
    return None


def is_complete(folder: Path) -> bool:
    """Whether a folder has a description of a model, and all its weights."""
    described = (folder / "config.json").is_file() or (folder / "modules.json").is_file()
    try:
        return described and bool(model_config.weights_files(folder))
    except FailedPrecondition:
        return False


def version(hashes: Mapping[str, str]) -> str:
    """The version of weights: the sha256 of their file or, if there are several, of the list of them.

    hashes: sha256 of each file that holds weights, by its name. The list has the format of `sha256sum`, sorted by name.
    """
    if set(hashes) == {WEIGHTS_FILE}:
        return hashes[WEIGHTS_FILE]
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def q4_file(entry: ModelEntry, folder: Path) -> Path | None:
    """The file of 4-bit weights, if that is what a model has in this folder; None for weights in full precision."""
    if entry.file is None or is_complete(folder):
        return None
    file = folder / entry.file
    return file if file.is_file() else None


def _in_package(source: str, entry: ModelEntry) -> Path | None:
    """A folder inside an installed package, found through its list of files. The package is never imported."""
    package, _, inside = source.partition("/")
    try:
        folder = Path(str(distribution(package.partition("==")[0]).locate_file(inside)))
    except PackageNotFoundError:
        return None
    return folder if is_complete(folder) or q4_file(entry, folder) else None


def _in_hub_cache(repository: str, pinned: str | None) -> Path | None:
    """The snapshot of the pinned revision, or else of the branch main as it was when it was downloaded."""
    from huggingface_hub import try_to_load_from_cache

    for revision in filter(None, (pinned, "main")):
        for name in ("config.json", "modules.json"):
            file = try_to_load_from_cache(repository, name, revision=revision)
            if isinstance(file, str) and is_complete(Path(file).parent):
                return Path(file).parent
    return None


def verify(name: str, entry: ModelEntry, folder: Path) -> Weights:
    """Hash the weights and compare them with the catalogue.

    Weights from a package must be those of the catalogue. Any other folder belongs to the user and may hold other
    weights of the same kind, such as a fine-tuned model; Pinyon uses them and says so. If the folder has a SHA256SUMS,
    every file is checked. Raises FailedPrecondition if a file cannot be read or has changed, or if weights from a
    package are not those of the catalogue.
    """
    failpoints.reach("hash", name)
    quantized = q4_file(entry, folder)
    # A model that has a second source may be there in full precision. Then it is not what the package has.
    comes_with_pinyon = entry.source.startswith(("package:", "shipped:")) and (
        entry.hub is None or quantized is not None
    )
    try:
        files = model_config.weights_files(folder) if quantized is None else [quantized.name]
        hashes = {file: checksums.sha256(folder / file) for file in files}
        wrong = checksums.check(folder, hashes)
        if entry.source.startswith("package:") and comes_with_pinyon:
            others = {file: checksums.sha256(folder / file) for file in entry.files}
            wrong += [f"{file} has changed" for file, digest in others.items() if digest != entry.files[file]]
    except OSError as error:
        raise FailedPrecondition(f"The weights of {name} in {folder} cannot be read: {error.strerror}") from error
    if not hashes:
        raise FailedPrecondition(f"The weights of {name} in {folder} are incomplete")
    if wrong:
        raise FailedPrecondition(f"The files of {name} in {folder} are damaged: {', '.join(wrong)} since they came")
    digest = version(hashes) if quantized is None else hashes[quantized.name]
    catalogued = digest in (entry.sha256, entry.hub_sha256)
    if not catalogued and comes_with_pinyon:
        raise FailedPrecondition(
            f"The weights of {name} in {folder} are damaged: sha256 is {digest}, the catalogue says {entry.sha256}"
        )
    return Weights(folder, digest, catalogued)
