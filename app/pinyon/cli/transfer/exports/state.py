"""How far an export is: a small file beside its result, from which an interrupted export goes on."""

from pathlib import Path

import msgspec

from pinyon import decoding
from pinyon.errors import FailedPrecondition
from pinyon.files import replace_json
from pinyon.formats.rows import Format


class Plan(msgspec.Struct, frozen=True):
    """What is exported. filter: as JSON. single: into one file, not into a folder. part: records of a file."""

    index: str
    namespace: str | None
    filter: str | None
    format: Format
    vectors: bool
    single: bool
    part: int


class Part(msgspec.Struct, frozen=True):
    """A written file. token: where the next one begins; None if it is the last one of its namespace."""

    file: str
    namespace: str
    records: int
    token: str | None


class State(msgspec.Struct):
    """An export that has begun. name: of the backup that it reads. backup: its id; empty until it is taken.

    moment: when it was taken (RFC 3339).
    """

    plan: Plan
    name: str
    backup: str = ""
    moment: str = ""
    parts: list[Part] = []

    @property
    def records(self) -> int:
        """Records that were written."""
        return sum(part.records for part in self.parts)

    def last(self, namespace: str) -> Part | None:
        """The last written file of a namespace."""
        return next((part for part in reversed(self.parts) if part.namespace == namespace), None)


class StateFile:
    """OUT.export.json, beside the result OUT."""

    def __init__(self, out: Path) -> None:
        self.path = out.with_name(f"{out.name}.export.json")

    def exists(self) -> bool:
        """Whether an export to the same place has begun and has not ended."""
        return self.path.exists()

    def read(self) -> State:
        """The state. Raises FailedPrecondition if the file is none."""
        try:
            return decoding.decode(self.path.read_bytes(), State)
        except (OSError, msgspec.MsgspecError) as error:
            raise FailedPrecondition(f"{self.path} cannot be read, so the export cannot go on: {error}") from error

    def write(self, state: State) -> None:
        """Store the state, as a whole. Raises OSError."""
        replace_json(self.path, state)

    def remove(self) -> None:
        """The export has ended. Raises OSError."""
        self.path.unlink(missing_ok=True)
