"""API keys. A key has 256 random bits; DATA/keys.json has its SHA-256. Keys are compared in constant time.

The file is read again when it changes, so that keys can be made and revoked while the server runs.
"""

import hashlib
import hmac
import logging
import math
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from pinyon.auth.permissions import EVERYTHING, Grant
from pinyon.auth.scopes import SCOPES, Scope
from pinyon.errors import AlreadyExists, FailedPrecondition, NotFound, ResourceExhausted
from pinyon.files import put_in_place

FILE = "keys.json"
PREFIX = "pinyon_"

log = logging.getLogger("pinyon.keys")


class StoredKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key without its secret. created: RFC 3339.

    indexes, namespaces: those it is for; None: all. per_second: requests; None: any number.
    """

    name: str
    sha256: str
    created: str
    scopes: tuple[Scope, ...] = SCOPES
    indexes: tuple[str, ...] | None = None
    namespaces: tuple[str, ...] | None = None
    per_second: float | None = None


class Limits(msgspec.Struct, frozen=True):
    """What a new key is for; as in StoredKey."""

    scopes: tuple[Scope, ...] = SCOPES
    indexes: tuple[str, ...] | None = None
    namespaces: tuple[str, ...] | None = None
    per_second: float | None = None


def create(data_dir: Path, name: str, limits: Limits = Limits()) -> str:  # noqa: B008  (frozen)
    """Make a key and return it. It cannot be read again later. Raises AlreadyExists or FailedPrecondition."""
    with _changing(data_dir):
        keys = stored(data_dir)
        if any(key.name == name for key in keys):
            raise AlreadyExists(f"There is a key named {name} already; revoke it first, or choose another name")
        key = PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _write(data_dir, [*keys, StoredKey(name, digest(key), now, **msgspec.structs.asdict(limits))])
    return key


def revoke(data_dir: Path, name: str) -> None:
    """Delete a key. Raises NotFound."""
    with _changing(data_dir):
        keys = stored(data_dir)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise NotFound(f"There is no key named {name}; there are: {', '.join(key.name for key in keys) or 'none'}")
        _write(data_dir, left)


@contextmanager
def _changing(data_dir: Path) -> Iterator[None]:
    """One process at a time may change the file."""
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
        raise FailedPrecondition(
            f"The file of API keys {file} cannot be read: {error}; restore it, or remove it and make new keys"
        ) from error


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


class Caller(msgspec.Struct):
    """Who sent a key: what it may do, and how often. tokens: requests it may send at once, refilled with time."""

    grant: Grant
    per_second: float | None = None
    tokens: float = 1.0
    refilled: float = 0.0

    def take(self, now: float) -> None:
        """Count a request at this time, in seconds. Raises ResourceExhausted when there were too many."""
        if self.per_second is None:
            return
        most = max(1.0, self.per_second)  # a second's worth may come at once
        self.tokens = min(most, self.tokens + max(0.0, now - self.refilled) * self.per_second)
        self.refilled = now
        if self.tokens < 1:
            wait = math.ceil((1 - self.tokens) / self.per_second)
            raise ResourceExhausted(f"This API key may send {self.per_second:g} requests per second", wait)
        self.tokens -= 1


class Keys:
    """The keys of a running server: those of the file, and one of the settings, which has every right."""

    def __init__(self, data_dir: Path, of_settings: str) -> None:
        self._data_dir, self._file = data_dir, str(data_dir / FILE)
        self._fixed = {digest(of_settings): Caller(EVERYTHING)} if of_settings else {}
        self._callers: dict[str, Caller] = {}
        self._seen: tuple[int, ...] | None = None
        self._asked = bool(of_settings)
        self._trouble: str | None = None

    def required(self) -> bool:
        """Whether a request needs a key: there is one, or there was one since the start."""
        self._look()
        self._asked = self._asked or bool(self._callers)
        return self._asked

    def trouble(self) -> str | None:
        """Why the keys of the file are not known, or None."""
        self._look()
        return self._trouble

    def caller(self, key: str) -> Caller | None:
        """The caller with this key, or None."""
        self._look()
        asked = digest(key).encode()
        # Every one is compared, so that the time tells nothing about which.
        known = self._fixed | self._callers
        found = [who for held, who in known.items() if hmac.compare_digest(asked, held.encode())]
        return found[0] if found else None

    def _look(self) -> None:
        try:
            found = os.stat(self._file)
            seen: tuple[int, ...] = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            seen = (0,)
        except OSError as error:  # what was known stays known until the file can be looked at again
            self._tell(f"The file of API keys {self._file} cannot be looked at: {error.strerror or error}")
            return
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._callers = {key.sha256: _caller(key) for key in stored(self._data_dir)}
            self._trouble = None
        except FailedPrecondition as error:  # nobody gets in on a broken file
            self._tell(error.message)
            self._callers, self._asked = {}, True

    def _tell(self, trouble: str) -> None:
        """Log it once, not with every request."""
        if trouble != self._trouble:
            log.error("%s", trouble)
        self._trouble = trouble


def _caller(key: StoredKey) -> Caller:
    grant = Grant(
        frozenset(key.scopes),
        None if key.indexes is None else frozenset(key.indexes),
        None if key.namespaces is None else frozenset(key.namespaces),
    )
    return Caller(grant, key.per_second, max(1.0, key.per_second or 0), time.monotonic())
