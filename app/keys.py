"""API keys: made of 256 random bits, kept as their SHA-256 in DATA/keys.json, recognised in constant time.

The file is read again when it changes, so that keys are made and revoked while the server runs.
"""

import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from app.errors import AlreadyExists, FailedPrecondition, NotFound
from app.files import put_in_place

FILE = "keys.json"
PREFIX = "pinyon_"

log = logging.getLogger("pinyon.keys")


class StoredKey(msgspec.Struct, frozen=True):
    """A key without its secret. created: RFC 3339."""

    name: str
    sha256: str
    created: str


def create(data_dir: Path, name: str) -> str:
    """Make a key; the only time that it is told. Raises AlreadyExists or FailedPrecondition."""
    with _changing(data_dir):
        keys = stored(data_dir)
        if any(key.name == name for key in keys):
            raise AlreadyExists(f"There is a key named {name} already; revoke it first, or choose another name")
        key = PREFIX + secrets.token_urlsafe(32)
        _write(data_dir, [*keys, StoredKey(name, digest(key), datetime.now(UTC).isoformat(timespec="seconds"))])
    return key


def revoke(data_dir: Path, name: str) -> None:
    """Make a key unknown. Raises NotFound."""
    with _changing(data_dir):
        keys = stored(data_dir)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise NotFound(f"There is no key named {name}; there are: {', '.join(key.name for key in keys) or 'none'}")
        _write(data_dir, left)


@contextmanager
def _changing(data_dir: Path) -> Iterator[None]:
    """One change at a time, also of several processes."""
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
    """Every key. Raises FailedPrecondition if the file cannot be read."""
    file = data_dir / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[StoredKey])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise FailedPrecondition(f"The file of API keys {file} cannot be read: {error}") from error


def _write(data_dir: Path, keys: list[StoredKey]) -> None:
    """Replace the file, as a whole or not at all."""
    file, new = data_dir / FILE, data_dir / f"{FILE}.new"
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(keys)))
        put_in_place(new, file)
    except OSError as error:
        raise FailedPrecondition(f"The file of API keys {file} cannot be written: {error.strerror}") from error


def digest(key: str) -> str:
    """SHA-256 in hex. Enough for keys of 256 random bits, which nobody can guess from a list of words."""
    return hashlib.sha256(key.encode()).hexdigest()


class Keys:
    """The keys of a running server: those of the file, and one of the settings."""

    def __init__(self, data_dir: Path, of_settings: str) -> None:
        self._data_dir = data_dir
        self._fixed = [digest(of_settings)] if of_settings else []
        self._digests: list[str] = []
        self._seen: tuple[int, int, int] | None = None
        self._asked = bool(of_settings)

    def required(self) -> bool:
        """Whether a request needs a key: there is one, or there was one since the start."""
        self._look()
        self._asked = self._asked or bool(self._digests)
        return self._asked

    def known(self, key: str) -> bool:
        """Whether the key is one of them."""
        self._look()
        asked = digest(key)
        # Every one is compared, so that the time tells nothing about which.
        return any([hmac.compare_digest(asked.encode(), held.encode()) for held in (*self._fixed, *self._digests)])

    def _look(self) -> None:
        try:
            found = os.stat(self._data_dir / FILE)
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            seen = (0, 0, 0)
        except OSError as error:  # what was known stays known until the file can be looked at again
            log.error("the file of API keys cannot be looked at: %s", error)
            return
        if seen == self._seen:
            return
        try:
            self._digests = [key.sha256 for key in stored(self._data_dir)]
            self._seen = seen
        except FailedPrecondition as error:  # nobody gets in on a broken file
            log.error("%s", error.message)
            self._digests, self._asked = [], True
