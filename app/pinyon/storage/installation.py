"""The stored data of one installation, seen from outside an engine: what the commands ask.

An engine that is open answers requests. An installation can also be asked while no engine has it open, or while another
process has.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from pinyon.domain import IndexSpec
from pinyon.storage.engine import Engine, EngineLimits
from pinyon.storage.holder import Holder


class Finding(msgspec.Struct, frozen=True):
    """One line of a report. FAIL: the server cannot start, or one of its indexes cannot be used.

    subject: what was examined. spec: of an index that can be used.
    """

    level: Literal["ok", "note", "FAIL"]
    subject: str
    message: str
    spec: IndexSpec | None = None

    def __str__(self) -> str:
        return f"{self.level:4}  {self.subject:12} {self.message}"


class Problem(Protocol):
    """Something that is wrong. kind: stored: what a client sent is damaged; derived: it can be made again."""

    @property
    def kind(self) -> Literal["stored", "derived"]: ...

    @property
    def words(self) -> str: ...


class Report(Protocol):
    """What a check found of one index, or of the catalogue. notes: no fault, but worth knowing."""

    @property
    def name(self) -> str: ...

    @property
    def problems(self) -> Sequence[Problem]: ...

    @property
    def notes(self) -> Sequence[str]: ...

    @property
    def repairable(self) -> bool:
        """Whether everything that is wrong can be made again from what is stored."""
        ...


class Installation(Protocol):
    """Methods raise only errors of pinyon.errors."""

    @property
    def location(self) -> str:
        """Where the data are, for people."""
        ...

    @property
    def limits(self) -> EngineLimits:
        """What no index can exceed."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether any number of processes may have the data open at the same time."""
        ...

    async def open(self, wait: bool = True) -> Engine:
        """Open the data. wait: until every index is open.

        Raises FailedPrecondition if another process has the data open, or they are of a later version. Raises DataLoss
        if they are damaged as a whole.
        """
        ...

    def require(self) -> None:
        """Raises FailedPrecondition if there are no data. Makes none."""
        ...

    def holder(self) -> Holder | None:
        """The process that has the data open, or None."""
        ...

    def announce(self, url: str) -> None:
        """Say where this process, which has the data open, answers. Raises OSError."""
        ...

    def backup(self, to: Path) -> list[str]:
        """Copy the data to a new folder, also while a server writes to them. Returns the names of the indexes.

        Raises AlreadyExists if the folder is not empty. Raises FailedPrecondition or DataLoss if something cannot be
        read or written.
        """
        ...

    def restore(self, backup: Path) -> list[str]:
        """Make the data from a backup, after checking it. Returns the names of the indexes. Raises as backup()."""
        ...

    def restore_index(self, backup: Path, name: str) -> Path | None:
        """Put one index of a backup in the place of what there is under its name.

        Returns the folder that the old data of the index were moved to, or None if there were none. Raises as backup();
        NotFound if the backup lacks the index; FailedPrecondition if the data are open.
        """
        ...

    def check(self, names: list[str]) -> Iterator[Report]:
        """Compare what is stored with what was written: these indexes, or all and the catalogue. Changes nothing.

        Raises FailedPrecondition if there are no data, NotFound for an unknown index.
        """
        ...

    def repair(self, report: Report, accept: bool) -> str:
        """Make again what is wrong in a report of check(). Returns what was done, in words.

        accept: take stored values as they are, even if they are damaged. Raises FailedPrecondition without it, or if
        the data are open. Raises DataLoss if they cannot be read.
        """
        ...

    def software(self) -> Iterator[Finding]:
        """Which libraries store the data, and whether they work."""
        ...

    def findings(self) -> Iterator[Finding]:
        """Whether the data can be opened, and what is in them. Changes nothing."""
        ...
