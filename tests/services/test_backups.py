"""Backups while they are being taken."""

import asyncio
from typing import Any

import pytest
from pinyon.domain import BackupLabel, Handle, Index, IndexSpec
from pinyon.services.control_plane import backups
from pinyon.services.control_plane.backups import Backups

pytestmark = pytest.mark.anyio
DOCS = Index(IndexSpec("docs", 2, "cosine"), Handle("docs", "1"))


class Indexes:
    """Stands for the indexes of an installation."""

    def index(self, name: str) -> Index:
        return DOCS


class Engine:
    """Stands for storage. A backup gets ready just after the list of those that are ready was read."""

    def __init__(self) -> None:
        self.listed, self.taken = asyncio.Event(), asyncio.Event()

    async def create_backup(self, index: Handle, label: BackupLabel) -> None:
        await self.listed.wait()
        self.taken.set()

    async def backups(self) -> list[Any]:
        self.listed.set()
        await self.taken.wait()
        await asyncio.sleep(0)  # lets the service hear of it
        return []


async def test_a_backup_that_gets_ready_while_backups_are_listed_is_in_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backups, "WAIT_S", 0)
    parts: Any = Engine(), Indexes()
    state = await Backups(*parts).create("docs", None, None)
    assert (state.index, state.status) == (DOCS, "Initializing")
