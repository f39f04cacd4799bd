"""`pinyon models pull`: a model's weights from the Hugging Face hub into models/weights/, at the pinned revision."""

import shutil
from pathlib import Path

from app.errors import FailedPrecondition, NotFound, Unavailable
from app.inference import weights
from app.inference.manifest import load_manifest

WANTED = ["*.json", "*.txt", "*.model", "model.safetensors", "*/config.json"]
"""What a model needs at run time; the same weights in other formats stay where they are."""


def pull(name: str, models_dir: Path, offline: bool) -> str:
    """Fetch the weights, with progress bars; a broken download continues where it ended. Returns a sentence.

    Raises NotFound for an unknown model, FailedPrecondition for one without public weights, when offline, or when
    what arrived is not what the catalogue says; Unavailable if the hub does not answer.
    """
    entries = load_manifest(models_dir / "manifest.toml")
    if name not in entries:
        raise NotFound(f"Model '{name}' not found; known are {', '.join(entries)}")
    entry = entries[name]
    if not entry.source.startswith("hub:"):
        reason = entry.unavailable or "it needs no download: it comes with Pinyon"
        raise FailedPrecondition(f"Model '{name}' cannot be pulled: {reason}")
    if offline:
        raise FailedPrecondition(f"Model '{name}' cannot be pulled: the setting offline is on")
    from huggingface_hub import snapshot_download

    folder = models_dir / "weights" / name
    arriving = models_dir / "weights" / f"{name}.partial"
    try:
        snapshot_download(
            entry.source.removeprefix("hub:"), revision=entry.revision, local_dir=arriving, allow_patterns=WANTED
        )
    except (OSError, ValueError) as error:  # what the hub library raises for every trouble of net, hub or disk
        raise Unavailable(f"Model '{name}' could not be fetched from {entry.source}: {error}") from error
    found = weights.verify(name, entry, arriving)
    if not found.catalogued:
        shutil.rmtree(arriving)
        raise FailedPrecondition(
            f"What arrived for '{name}' is not what the catalogue says (sha256 {found.version}, expected "
            f"{entry.sha256}); it was removed again"
        )
    if folder.exists():
        shutil.rmtree(folder)
    arriving.rename(folder)
    return f"{name} is in {folder}, sha256 {found.version}. Restart the server to use it."
