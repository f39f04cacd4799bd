"""Backups that are being taken or have failed. They are stored, so all processes of an installation tell the same."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import msgspec

from pinyon.domain import BackupLabel, Index, Lease
from pinyon.errors import PinyonError
from pinyon.services.control_plane.catalogue_document import CatalogueDocument
from pinyon.services.leases import LEASE_S, renewed
from pinyon.storage.engine import Engine

KEY = "unfinished-backups"
MOST_FAILED = 100
"""Failed backups that are remembered: the newest."""

log = logging.getLogger("pinyon.backups")


class UnfinishedBackup(msgspec.Struct, frozen=True):
    """A backup of an index. problem: why it failed; None while it is being taken."""

    label: BackupLabel
    index: Index
    problem: str | None = None


class UnfinishedBackups:
    """Call from the event-loop thread only. A backup that no process takes any more has failed, unless it is there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stored = CatalogueDocument(engine, KEY, list[UnfinishedBackup], [])
        self._own: dict[str, UnfinishedBackup] = {}  # taken by this process, or their failure could not be stored
        self._owner = uuid4().hex

    async def all(self) -> list[UnfinishedBackup]:
        """Every unfinished backup. One that got ready a moment ago may be among them."""
        known = {each.label.id: each for each in await self._stored.read()} | self._own
        judged = [await self._judged(each) for each in known.values()]
        return [each for each in judged if each is not None]

    def begin(self, backup: UnfinishedBackup) -> None:
        """From now on this process takes a backup."""
        self._own[backup.label.id] = backup

    @asynccontextmanager
    async def taking(self, backup: UnfinishedBackup) -> AsyncIterator[None]:
        """Tell the other processes of a backup that was begun, during the block that takes it."""
        lease = self._lease(backup)
        try:
            await self._engine.take_lease(lease, LEASE_S)
            await self._stored.change(lambda stored: _with(stored, backup))
        except PinyonError as error:  # the backup is taken all the same
            log.info("the other processes cannot be told of backup %s: %s", backup.label.id, error.message)
        async with renewed(self._engine, lease):
            yield

    async def end(self, backup: UnfinishedBackup) -> None:
        """A backup of this process has failed, if it has a problem, or is ready. Schedules note failures themselves."""
        is_failure = backup.problem is not None and backup.label.schedule is None
        self._own[backup.label.id] = backup
        try:
            await self._stored.change(
                lambda stored: _with(stored, backup) if is_failure else _without(stored, backup.label.id)
            )
            await self._engine.release_lease(self._lease(backup))
        except PinyonError as error:  # this process knows it, and the others find it out
            log.error("the end of backup %s cannot be stored: %s", backup.label.id, error.message)
            if is_failure:
                return
        del self._own[backup.label.id]

    async def forget(self, id: str) -> None:
        """Forget a backup that failed. Raises PinyonError if that cannot be stored."""
        await self._stored.change(lambda stored: _without(stored, id))
        self._own.pop(id, None)

    async def _judged(self, backup: UnfinishedBackup) -> UnfinishedBackup | None:
        """A backup that is being taken, or its failure if its process has ended. None if it is ready."""
        if backup.problem is not None or backup.label.id in self._own:
            return backup
        lease = self._lease(backup)
        try:
            if not await self._engine.take_lease(lease, LEASE_S):
                return backup
            is_ready = backup.label.id in {each.label.id for each in await self._engine.backups()}
            ended = None
            if not is_ready and backup.label.schedule is None:  # schedules take it again
                ended = msgspec.structs.replace(backup, problem="the server was stopped meanwhile")

            def change(stored: list[UnfinishedBackup]) -> list[UnfinishedBackup]:
                if backup not in stored:  # its process has just ended it
                    return stored
                return _without(stored, backup.label.id) if ended is None else _with(stored, ended)

            stored = await self._stored.change(change)
            await self._engine.release_lease(lease)
        except PinyonError as error:  # this process only reads, for example; another one will store its end
            log.info("the end of backup %s cannot be stored: %s", backup.label.id, error.message)
            return backup
        return next((each for each in stored if each.label.id == backup.label.id), None)

    def _lease(self, backup: UnfinishedBackup) -> Lease:
        return Lease(f"backup/{backup.label.id}", self._owner)


def _with(stored: list[UnfinishedBackup], backup: UnfinishedBackup) -> list[UnfinishedBackup]:
    every = [*_without(stored, backup.label.id), backup]
    failed = [each for each in every if each.problem is not None]
    forgotten = {each.label.id for each in failed[:-MOST_FAILED]}
    return [each for each in every if each.label.id not in forgotten]


def _without(stored: list[UnfinishedBackup], id: str) -> list[UnfinishedBackup]:
    return [each for each in stored if each.label.id != id]
