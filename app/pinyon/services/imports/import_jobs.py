"""Imports as they are stored with their index. Notes have each import, the wish to cancel it, and why it pauses."""

import logging
from collections.abc import Sequence
from typing import Literal

import msgspec

from pinyon import decoding
from pinyon.domain import Handle, Lease, Note
from pinyon.services.imports.importer import OnError, Progress
from pinyon.services.moments import now

Status = Literal["Pending", "InProgress", "Failed", "Completed", "Cancelled"]
UNFINISHED: tuple[Status, ...] = ("Pending", "InProgress")
JOB, CANCEL, PAUSED = "import:", "import-cancel:", "import-paused:"
"""The beginnings of the keys of notes. The id of the import follows."""

log = logging.getLogger("pinyon.imports")


class ImportJob(msgspec.Struct, frozen=True):
    """An import as it is stored. created_at, finished_at: RFC 3339. error: why it failed.

    waits: why its source cannot be read now.
    """

    id: str
    uri: str
    on_error: OnError
    created_at: str
    status: Status = "Pending"
    progress: Progress = Progress()
    finished_at: str | None = None
    error: str | None = None
    waits: str | None = None

    @property
    def is_unfinished(self) -> bool:
        """Whether there is anything left to do."""
        return self.status in UNFINISHED

    def note(self, lease: Lease | None) -> Note:
        """The job as a note."""
        return Note(JOB + self.id, msgspec.json.encode(self).decode(), lease)

    def ended(self, status: Status, error: str | None = None) -> "ImportJob":
        """The job at its end."""
        return msgspec.structs.replace(self, status=status, error=error, waits=None, finished_at=now())

    @property
    def place(self) -> str:
        """Its place among the jobs of its index."""
        return f"{self.created_at} {self.id}"


class ImportNotes(msgspec.Struct, frozen=True):
    """The imports of an index. jobs: by id, oldest first. cancelled: ids of those that are to be cancelled.

    paused: why imports are paused, by id.
    """

    jobs: dict[str, ImportJob]
    cancelled: set[str]
    paused: dict[str, str]


def read(index: Handle, notes: Sequence[Note]) -> ImportNotes:
    """The imports among the notes of an index."""
    jobs = [job for note in notes if (job := _decoded(index, note)) is not None]
    cancelled = {note.key.removeprefix(CANCEL) for note in notes if note.key.startswith(CANCEL)}
    paused = {note.key.removeprefix(PAUSED): note.text for note in notes if note.key.startswith(PAUSED) and note.text}
    return ImportNotes({job.id: job for job in sorted(jobs, key=lambda job: job.place)}, cancelled, paused)


def _decoded(index: Handle, note: Note) -> ImportJob | None:
    if not note.key.startswith(JOB) or note.text is None:
        return None
    try:
        return decoding.decode(note.text, ImportJob)
    except msgspec.MsgspecError as error:
        log.error("an import of index %s cannot be read, so it is not listed: %s", index.name, error)
        return None
