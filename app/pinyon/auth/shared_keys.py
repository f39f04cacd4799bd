"""API keys of several processes that share their data. Each process knows of a change within about a second."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from pinyon.auth.callers import Caller, KnownKeys
from pinyon.auth.stored_keys import FILE, Limits, StoredKey, decoded, encoded, with_keys, with_new_key, without_key
from pinyon.concurrency.cancellation import cancel
from pinyon.concurrency.conflicts import until_no_conflict
from pinyon.errors import FailedPrecondition, PinyonError, Unavailable
from pinyon.shared_files import SharedFiles

RETRY_S = 1.0
"""After so many seconds the keys are read again if that failed."""

log = logging.getLogger("pinyon.keys")


class SharedKeyStore:
    """A KeyStore in a shared file."""

    def __init__(self, files: SharedFiles) -> None:
        self._files = files

    async def stored(self) -> list[StoredKey]:
        return (await self.read())[0]

    async def create(self, name: str, limits: Limits) -> str:
        async def change() -> str:
            keys, version = await self.read()
            keys, key = with_new_key(keys, name, limits)
            await self._files.write(FILE, encoded(keys), version)
            return key

        return await until_no_conflict(change)

    async def add(self, keys: Sequence[StoredKey]) -> None:
        async def change() -> None:
            stored, version = await self.read()
            await self._files.write(FILE, encoded(with_keys(stored, keys)), version)

        await until_no_conflict(change)

    async def revoke(self, name: str) -> None:
        async def change() -> None:
            keys, version = await self.read()
            await self._files.write(FILE, encoded(without_key(keys, name)), version)

        await until_no_conflict(change)

    async def read(self) -> tuple[list[StoredKey], int]:
        """The keys, and the version of their file. Raises FailedPrecondition if it is damaged."""
        file = await self._files.read(FILE)
        if file is None:
            return [], 0
        try:
            return decoded(file.content), file.version
        except msgspec.MsgspecError as error:
            raise FailedPrecondition(f"The API keys in the database cannot be read: {error}") from error


class SharedKeys(KnownKeys):
    """The keys of a running server that shares its data. A KeyStore too. Call from the event-loop thread only.

    Until follow() has read the keys, every request needs one, and none is known yet.
    """

    def __init__(self, settings_key: str) -> None:
        super().__init__(settings_key)
        self._store: SharedKeyStore | None = None
        self._version = -1
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def follow(self, files: SharedFiles, watch: Callable[[Callable[[], None]], None]) -> None:
        """Read the keys, and from now on follow their changes. watch: as Engine has it."""
        self._store = SharedKeyStore(files)
        watch(self._changed.set)
        await self._read()
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            await cancel(self._task)

    def required(self) -> bool:
        return super().required() or self._version < 0

    def caller(self, key: str) -> Caller | None:
        """The caller with this key, or None. Raises Unavailable if the keys are not known yet."""
        caller = super().caller(key)
        if caller is None and self._version < 0:
            raise Unavailable("Not ready: the API keys are not known yet")
        return caller

    async def stored(self) -> list[StoredKey]:
        return await self._opened().stored()

    async def create(self, name: str, limits: Limits) -> str:
        key = await self._opened().create(name, limits)
        await self._read()
        return key

    async def add(self, keys: Sequence[StoredKey]) -> None:
        await self._opened().add(keys)
        await self._read()

    async def revoke(self, name: str) -> None:
        await self._opened().revoke(name)
        await self._read()

    def _opened(self) -> SharedKeyStore:
        if self._store is None:
            raise Unavailable("Not ready: storage is being opened")
        return self._store

    async def _read(self) -> None:
        try:
            keys, version = await self._opened().read()
        except FailedPrecondition as error:
            self._refuse_all(error.message)
            version = 0
        else:
            if version != self._version:  # otherwise callers keep the requests that they have been counted
                self._accept(keys)
        self._version = version

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._read()
            except PinyonError as error:  # the keys known so far stay valid until the database answers
                log.warning("the API keys cannot be read again now: %s", error.message)
                await asyncio.sleep(RETRY_S)
                self._changed.set()
