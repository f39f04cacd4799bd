"""weights/installed.json: what this installation knows about models beyond the catalogue and the settings.

`pinyon models add` writes the models that it adds. `pinyon models pull` writes the revision and the hash of a model
whose catalogue entry has none, and a later pull must bring the same files.
"""

from pathlib import Path

import msgspec

from pinyon import decoding
from pinyon.errors import FailedPrecondition
from pinyon.files import replace_json
from pinyon.settings import OwnModel

FILE = Path("weights") / "installed.json"
"""Below the models folder, in the part of it that is a volume in a container."""


class Pin(msgspec.Struct, frozen=True):
    """What the first pull of a model brought.

    source: where it came from. revision: its commit. sha256: as weights.version() computes it. asked: the branch, tag
    or commit that was asked for; None for the newest one.
    """

    source: str
    revision: str
    sha256: str
    asked: str | None = None


class Installed(msgspec.Struct, frozen=True):
    """The content of the file, by the names of models."""

    added: dict[str, OwnModel] = {}
    pins: dict[str, Pin] = {}


def read(models_dir: Path) -> Installed:
    """The content of the file; empty without one. Raises FailedPrecondition if it cannot be read."""
    file = models_dir / FILE
    try:
        return decoding.decode(file.read_bytes(), Installed)
    except FileNotFoundError:
        return Installed()
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise FailedPrecondition(
            f"{file}, made by `pinyon models add` and `pull`, cannot be read: {error}. Correct it, or remove it and "
            "add the models again"
        ) from error


def write(models_dir: Path, installed: Installed) -> None:
    """Replace the file. Raises FailedPrecondition if it cannot be written."""
    file = models_dir / FILE
    try:
        replace_json(file, installed)
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be written: {error.strerror}") from error


def pin(models_dir: Path, name: str, pinned: Pin) -> None:
    """Record what the first pull of a model brought. Raises FailedPrecondition as read() and write() do."""
    known = read(models_dir)
    write(models_dir, Installed(known.added, {**known.pins, name: pinned}))
