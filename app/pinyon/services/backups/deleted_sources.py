"""When the indexes that backups are of were deleted."""

import logging
from collections.abc import Sequence

import msgspec

from pinyon.domain import Backup, CatalogueValue, Index
from pinyon.errors import PinyonError
from pinyon.services.control_plane.conflicts import until_no_conflict
from pinyon.services.control_plane.indexes import now
from pinyon.storage.engine import Engine

KEY = "deleted-sources-of-backups"

log = logging.getLogger("pinyon.backups")


class DeletedSources:
    """Deleted indexes of which there are backups. They are noted when they are deleted, or found at the next look."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._deleted_at: dict[str, str] = {}

    async def open(self) -> None:
        """Read what earlier processes noted."""
        stored = (await self._engine.catalogue_values()).get(KEY)
        if stored is not None:
            try:
                self._deleted_at = msgspec.json.decode(stored.text, type=dict[str, str])
            except msgspec.MsgspecError as error:
                log.error("when the indexes of backups were deleted cannot be read: %s", error)

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
        self._deleted_at = {id: self._deleted_at.get(id) or now() for id in gone}

        async def store() -> None:
            before = (await self._engine.catalogue_values()).get(KEY, CatalogueValue("", 0))
            text = msgspec.json.encode(self._deleted_at).decode()
            await self._engine.put_catalogue_value(KEY, text, before.version)

        try:
            await until_no_conflict(store)
        except PinyonError as error:  # the disk is full, or this process only reads
            log.info("it cannot be stored which indexes of backups were deleted: %s", error.message)
