"""The rows that an import refuses: some are shown, and all are written to a file if the user names one."""

from pathlib import Path
from typing import BinaryIO

import msgspec
import orjson

from pinyon.errors import FailedPrecondition
from pinyon.formats.rows import RowProblem


class RefusedRows:
    """Collects refused rows. file: where they are written; None for nowhere. resume: add to what is there.

    most: how many are remembered, to be shown. Raises FailedPrecondition if the file cannot be written.
    """

    def __init__(self, file: Path | None, resume: bool, most: int) -> None:
        self._file, self._most = file, most
        self._first: list[tuple[str, int, str]] = []
        self._stream: BinaryIO | None = None
        if file is not None:
            try:
                self._stream = file.open("ab" if resume else "wb")
            except OSError as error:
                raise self._unwritable(error) from None

    def add(self, problem: RowProblem) -> None:
        """Keep a refused row."""
        if len(self._first) < self._most:
            self._first.append((problem.file, problem.row, str(problem)))
        if self._stream is not None:
            try:
                self._stream.write(orjson.dumps(msgspec.structs.asdict(problem), str, orjson.OPT_APPEND_NEWLINE))
                self._stream.flush()
            except OSError as error:
                raise self._unwritable(error) from error

    def shown(self) -> list[str]:
        """The first refused rows, in the order of their files and rows."""
        return [message for _, _, message in sorted(self._first)]

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()

    def _unwritable(self, error: OSError) -> FailedPrecondition:
        return FailedPrecondition(f"{self._file} cannot be written: {error.strerror or error}")
