"""API keys in a file of the data folder, DATA/keys.json.

The file is read again when it changes, so keys can be made and revoked while the server runs.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from pinyon.auth.callers import Caller, KnownKeys
from pinyon.auth.stored_keys import (
    FILE,
    PREFIX,
    Limits,
    StoredKey,
    decoded,
    digest,
    encoded,
    with_keys,
    with_new_key,
    without_key,
)
from pinyon.errors import FailedPrecondition
from pinyon.files import put_in_place

__all__ = ["FILE", "PREFIX", "Caller", "Keys", "Limits", "StoredKey", "create", "digest", "revoke", "stored"]


def create(data_dir: Path, name: str, limits: Limits = Limits()) -> str:  # noqa: B008  (frozen)
    """Make a key and return it. It cannot be shown again later, because only its hash is stored.

    Raises AlreadyExists if there is a key of this name, FailedPrecondition if the file cannot be read or written.
    """
    with _lock_file(data_dir):
        keys, key = with_new_key(stored(data_dir), name, limits)
        _write(data_dir, keys)
    return key


def add(data_dir: Path, keys: Sequence[StoredKey]) -> None:
    """Store keys of another installation.

    Raises AlreadyExists if a different key has one of their names, FailedPrecondition as create().
    """
    with _lock_file(data_dir):
        _write(data_dir, with_keys(stored(data_dir), keys))


def revoke(data_dir: Path, name: str) -> None:
    """Delete a key. Raises NotFound, or FailedPrecondition if the file cannot be read or written."""
    with _lock_file(data_dir):
        _write(data_dir, without_key(stored(data_dir), name))


@contextmanager
def _lock_file(data_dir: Path) -> Iterator[None]:
    """Lock the file of keys, because only one process at a time may change it. Raises FailedPrecondition."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(data_dir / f"{FILE}.lock", timeout=10)
        lock.acquire()
    except (OSError, Timeout) as error:
        raise FailedPrecondition(f"The file of API keys in {data_dir} cannot be changed: {error}") from error
    try:
        yield
    finally:
        lock.release()


def stored(data_dir: Path) -> list[StoredKey]:
    """All keys in the file. Raises FailedPrecondition if it cannot be read."""
    file = data_dir / FILE
    try:
        return decoded(file.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise FailedPrecondition(
            f"The file of API keys {file} cannot be read: {error}; restore it, or remove it and make new keys"
        ) from error


def _write(data_dir: Path, keys: list[StoredKey]) -> None:
    """Replace the whole file in one step. Raises FailedPrecondition."""
    file, new = data_dir / FILE, data_dir / f"{FILE}.new"
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(encoded(keys))
        put_in_place(new, file)
    except OSError as error:
        raise FailedPrecondition(f"The file of API keys {file} cannot be written: {error.strerror}") from error


class Keys(KnownKeys):
    """The keys of a running server that has a data folder. A KeyStore too."""

    def __init__(self, data_dir: Path, settings_key: str) -> None:
        super().__init__(settings_key)
        self._data_dir, self._file = data_dir, str(data_dir / FILE)
        self._file_state: tuple[int, ...] | None = None

    def required(self) -> bool:
        self._reload_if_changed()
        return super().required()

    def problem(self) -> str | None:
        self._reload_if_changed()
        return super().problem()

    def caller(self, key: str) -> Caller | None:
        self._reload_if_changed()
        return super().caller(key)

    async def stored(self) -> list[StoredKey]:
        return await asyncio.to_thread(stored, self._data_dir)

    async def create(self, name: str, limits: Limits) -> str:
        return await asyncio.to_thread(create, self._data_dir, name, limits)

    async def add(self, keys: Sequence[StoredKey]) -> None:
        await asyncio.to_thread(add, self._data_dir, keys)

    async def revoke(self, name: str) -> None:
        await asyncio.to_thread(revoke, self._data_dir, name)

    def _reload_if_changed(self) -> None:
        try:
            stat = os.stat(self._file)
            file_state: tuple[int, ...] = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
        except FileNotFoundError:
            file_state = (0,)
        except OSError as error:  # the known keys stay valid until the file can be examined again
            self._report(f"The file of API keys {self._file} cannot be examined: {error.strerror or error}")
            return
        if file_state == self._file_state:
            return
        self._file_state = file_state
        try:
            self._accept(stored(self._data_dir))
        except FailedPrecondition as error:  # while the file is broken, all its keys are refused
            self._refuse_all(error.message)
