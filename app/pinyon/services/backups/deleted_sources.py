"""When the indexes that backups are of were deleted."""

import logging
from collections.abc import Sequence

from pinyon.domain import Backup, Index
from pinyon.errors import PinyonError
from pinyon.services.control_plane.catalogue_document import CatalogueDocument
from pinyon.services.moments import now
from pinyon.storage.engine import Engine

KEY = "deleted-sources-of-backups"

log = logging.getLogger("pinyon.backups")


class DeletedSources:
    """Deleted indexes of which there are backups. They are noted when they are deleted, or found at the next look."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stored = CatalogueDocument(engine, KEY, dict[str, str], {})
        self._deleted_at: dict[str, str] = {}

    async def open(self) -> None:
        """Read what earlier processes noted."""
        self._deleted_at = await self._stored.read()

    def deleted_at(self, index: Index) -> str | None:
        """When an index of a backup was deleted, by RFC 3339. None if it still exists."""
        return self._deleted_at.get(index.handle.id)

    async def note(self, backups: Sequence[Backup]) -> None:
        """Note which of the indexes of all backups do not exist any more.

        An index that cannot be used exists; its id cannot be read, so its name counts.
        """
        ids = {index.handle.id for index in self._engine.indexes()}
        names = self._engine.unusable().keys() | self._engine.being_opened()
        gone = {
            backup.index.handle.id
            for backup in backups
            if backup.index.handle.id not in ids and backup.index.name not in names
        }
        if gone == self._deleted_at.keys():
            return
        try:
            self._deleted_at = await self._stored.change(lambda noted: {id: noted.get(id) or now() for id in gone})
        except PinyonError as error:  # the disk is full, or this process only reads
            self._deleted_at = {id: self._deleted_at.get(id) or now() for id in gone}
            log.info("it cannot be stored which indexes of backups were deleted: %s", error.message)
