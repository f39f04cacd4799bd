"""The small file from which an interrupted copy goes on."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from pinyon import decoding
from pinyon.errors import FailedPrecondition
from pinyon.files import replace_json

T = TypeVar("T")


class StateFile(Generic[T]):
    """Where the state of a copy is stored. kind: of the state. Methods raise FailedPrecondition if the disk refuses."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        self.path = path
        self._kind = kind

    def exists(self) -> bool:
        """Whether the copy was interrupted."""
        return self.path.exists()

    def read(self, source: str, target: str) -> T:
        """The state. source, target: of the copy, for messages. Raises FailedPrecondition if the file has none."""
        try:
            return decoding.decode(self.path.read_bytes(), self._kind)
        except FileNotFoundError:
            raise FailedPrecondition(
                f"There is no interrupted copy from {source} to {target} to go on with ({self.path} is not there); "
                "leave --resume out"
            ) from None
        except (OSError, msgspec.MsgspecError) as error:
            raise FailedPrecondition(f"{self.path} cannot be read, so the copy cannot go on: {error}") from error

    def write(self, state: T) -> None:
        """Store the state, as a whole."""
        try:
            replace_json(self.path, state)
        except OSError as error:
            raise FailedPrecondition(f"{self.path} cannot be written: {error.strerror or error}") from error

    def remove(self) -> None:
        """The copy has ended."""
        self.path.unlink(missing_ok=True)


def usual_path(prefix: str, source: str, target: str, part: str | None) -> Path:
    """The file of such a copy in the folder where programs keep their state. part: of the source; None for all."""
    from platformdirs import user_state_path

    what = "\n".join((source, target, part or "")).encode()
    return user_state_path("pinyon") / "copies" / f"{prefix}{hashlib.sha256(what).hexdigest()[:16]}.json"


def check_options(wanted: Mapping[str, Any], begun: Mapping[str, Any]) -> None:
    """Raise FailedPrecondition if the copy did not begin with the wanted options."""
    for name, mine in wanted.items():
        if mine != begun[name]:
            raise FailedPrecondition(
                f"The interrupted copy had another {name}: {begun[name]}, not {mine}; with --resume, give the same "
                "options again"
            )
