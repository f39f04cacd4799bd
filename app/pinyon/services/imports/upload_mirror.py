"""Uploads of several processes that share their data: each has those that it needs in its own folder, as copies."""

import asyncio
from pathlib import Path
from uuid import uuid4

from pinyon.errors import VersionConflict
from pinyon.services.imports.upload_files import ID, MOST_UPLOADS
from pinyon.shared_files import SharedFiles

FOLDER = "uploads/"


class UploadMirror:
    """data_dir: has the uploads of this process. shared: has those of all; None if there is one process only.

    A file of an upload is written once and never changed.
    """

    def __init__(self, data_dir: Path, shared: SharedFiles | None) -> None:
        self.data_dir, self._shared = data_dir, shared

    async def push(self, id: str) -> None:
        """Give the other processes the files of an upload. Removes the oldest uploads, if there are many."""
        if self._shared is None:
            return
        there = await self._shared.paths(FOLDER)
        folder = self.data_dir / FOLDER / id
        for file in await asyncio.to_thread(lambda: sorted(path for path in folder.rglob("*") if path.is_file())):
            path = f"{FOLDER}{id}/{file.relative_to(folder).as_posix()}"
            if path not in there:
                try:
                    await self._shared.write(path, await asyncio.to_thread(file.read_bytes), 0)
                except VersionConflict:  # another process was faster
                    continue
        others = [old for old in dict.fromkeys(path.split("/")[1] for path in there) if old != id]
        for old in others[: max(0, len(others) + 1 - MOST_UPLOADS)]:
            await self._shared.remove(f"{FOLDER}{old}/")

    async def pull(self, id: str) -> None:
        """Get the files of an upload that this process lacks. An upload that nobody has is left alone."""
        if self._shared is None or not ID.match(id):
            return
        for path in await self._shared.paths(f"{FOLDER}{id}/"):
            file = self.data_dir / path
            if file.exists():
                continue
            shared = await self._shared.read(path)
            if shared is not None:
                await asyncio.to_thread(_write, file, shared.content)


def _write(file: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = file.with_name(f".{uuid4().hex}")
    try:
        part.write_bytes(content)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
