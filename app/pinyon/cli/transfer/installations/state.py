"""How far a copy of an installation is: a small file from which an interrupted copy goes on."""

import hashlib
from pathlib import Path

import msgspec

from pinyon import decoding
from pinyon.errors import FailedPrecondition
from pinyon.files import replace_json


class IndexProgress(msgspec.Struct):
    """How far an index is. backup: of the source, if that is a database. has_begun: the target has or gets the index.

    namespace, after: the last copied record. copied: how many records were copied.
    """

    backup: str = ""
    has_begun: bool = False
    namespace: str = ""
    after: str = ""
    copied: int = 0


class CopyState(msgspec.Struct):
    """A copy that has begun. source, target: where the data are, in words. index: None for all.

    folder: the copy of the source, if that is a data folder. indexes: None until it is known what there is to copy.
    is_verified: whether only the snapshot of the source is left to be removed. keys: SHA-256 of the API keys that were
    copied.
    """

    source: str
    target: str
    index: str | None
    folder: str = ""
    indexes: dict[str, IndexProgress] | None = None
    is_verified: bool = False
    keys: list[str] = []

    @property
    def has_begun(self) -> bool:
        """Whether the target has or gets an index."""
        return any(progress.has_begun for progress in (self.indexes or {}).values())

    @property
    def copied(self) -> int:
        """Records that were copied."""
        return sum(progress.copied for progress in (self.indexes or {}).values())


class StateFile:
    """Where the state of a copy is stored. Methods raise FailedPrecondition if the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, state: CopyState) -> "StateFile":
        """The usual file of this source, target and index, in the folder where programs keep their state."""
        from platformdirs import user_state_path

        what = "\n".join((state.source, state.target, state.index or "")).encode()
        return cls(user_state_path("pinyon") / "copies" / f"installation-{hashlib.sha256(what).hexdigest()[:16]}.json")

    def exists(self) -> bool:
        """Whether the copy was interrupted."""
        return self.path.exists()

    def read(self, wanted: CopyState) -> CopyState:
        """The state of the interrupted copy. Raises FailedPrecondition if there is none, or one of something else."""
        try:
            state = decoding.decode(self.path.read_bytes(), CopyState)
        except FileNotFoundError:
            raise FailedPrecondition(
                f"There is no interrupted copy from {wanted.source} to {wanted.target} to go on with ({self.path} is "
                "not there); leave --resume out"
            ) from None
        except (OSError, msgspec.MsgspecError) as error:
            raise FailedPrecondition(f"{self.path} cannot be read, so the copy cannot go on: {error}") from error
        for name in ("source", "target", "index"):
            mine, other = getattr(wanted, name), getattr(state, name)
            if mine != other:
                raise FailedPrecondition(
                    f"The interrupted copy had another {name}: {other}, not {mine}; with --resume, give the same "
                    "options again"
                )
        return state

    def write(self, state: CopyState) -> None:
        """Store the state, as a whole."""
        try:
            replace_json(self.path, state)
        except OSError as error:
            raise FailedPrecondition(f"{self.path} cannot be written: {error.strerror or error}") from error

    def remove(self) -> None:
        """The copy has ended."""
        self.path.unlink(missing_ok=True)
