"""API keys. A key has 256 random bits. DATA/keys.json stores its SHA-256. Keys are compared in constant time.

The file is read again when it changes, so keys can be made and revoked while the server runs.
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

    indexes, namespaces: names that the key is for; None: all. per_second: the most requests; None: no limit.
    """

    name: str
    sha256: str
    created: str
    scopes: tuple[Scope, ...] = SCOPES
    indexes: tuple[str, ...] | None = None
    namespaces: tuple[str, ...] | None = None
    per_second: float | None = None


class Limits(msgspec.Struct, frozen=True):
    """What a new key allows. The fields are as in StoredKey."""

    scopes: tuple[Scope, ...] = SCOPES
    indexes: tuple[str, ...] | None = None
    namespaces: tuple[str, ...] | None = None
    per_second: float | None = None


def create(data_dir: Path, name: str, limits: Limits = Limits()) -> str:  # noqa: B008  (frozen)
    """Make a key and return it. It cannot be shown again later, because only its hash is stored.

    Raises AlreadyExists if there is a key of this name, FailedPrecondition if the file cannot be read or written.
    """
    with _lock_file(data_dir):
        keys = stored(data_dir)
        if any(key.name == name for key in keys):
            raise AlreadyExists(f"There is a key named {name} already; revoke it first, or choose another name")
        key = PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _write(data_dir, [*keys, StoredKey(name, digest(key), now, **msgspec.structs.asdict(limits))])
    return key


def revoke(data_dir: Path, name: str) -> None:
    """Delete a key. Raises NotFound, or FailedPrecondition if the file cannot be read or written."""
    with _lock_file(data_dir):
        keys = stored(data_dir)
        others = [key for key in keys if key.name != name]
        if len(others) == len(keys):
            raise NotFound(f"There is no key named {name}; there are: {', '.join(key.name for key in keys) or 'none'}")
        _write(data_dir, others)


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
        return msgspec.json.decode(file.read_bytes(), type=list[StoredKey])
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
            stream.write(msgspec.json.format(msgspec.json.encode(keys)))
        put_in_place(new, file)
    except OSError as error:
        raise FailedPrecondition(f"The file of API keys {file} cannot be written: {error.strerror}") from error


def digest(key: str) -> str:
    """SHA-256 in hex. A slow password hash is not needed, because nobody can guess 256 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()


class Caller(msgspec.Struct):
    """The sender of a key: what it may do, and how often.

    The rate limit is a token bucket. tokens: requests that may be sent now. refilled: when tokens was last updated, in
    seconds.
    """

    grant: Grant
    per_second: float | None = None
    tokens: float = 1.0
    refilled: float = 0.0

    def take(self, now: float) -> None:
        """Count a request. now: time in seconds. Raises ResourceExhausted if there were too many requests."""
        if self.per_second is None:
            return
        most = max(1.0, self.per_second)  # the requests of one second may come together
        self.tokens = min(most, self.tokens + max(0.0, now - self.refilled) * self.per_second)
        self.refilled = now
        if self.tokens < 1:
            wait = math.ceil((1 - self.tokens) / self.per_second)
            raise ResourceExhausted(f"This API key may send {self.per_second:g} requests per second", wait)
        self.tokens -= 1


class Keys:
    """The keys of a running server: those in the file, and the one in the settings, which may do everything."""

    def __init__(self, data_dir: Path, settings_key: str) -> None:
        self._data_dir, self._file = data_dir, str(data_dir / FILE)
        self._fixed = {digest(settings_key): Caller(EVERYTHING)} if settings_key else {}
        self._callers: dict[str, Caller] = {}
        self._file_state: tuple[int, ...] | None = None
        self._required = bool(settings_key)
        self._problem: str | None = None

    def required(self) -> bool:
        """Whether a request needs a key. True if there is a key, or was one at any time since the start."""
        self._reload_if_changed()
        self._required = self._required or bool(self._callers)
        return self._required

    def problem(self) -> str | None:
        """Why the file of keys cannot be read, or None."""
        self._reload_if_changed()
        return self._problem

    def caller(self, key: str) -> Caller | None:
        """The caller with this key, or None."""
        self._reload_if_changed()
        sent = digest(key).encode()
        # All known keys are compared, so that the time does not reveal which one matched.
        callers = self._fixed | self._callers
        matches = [caller for known, caller in callers.items() if hmac.compare_digest(sent, known.encode())]
        return matches[0] if matches else None

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
            self._callers = {key.sha256: _caller(key) for key in stored(self._data_dir)}
            self._problem = None
        except FailedPrecondition as error:  # while the file is broken, all its keys are refused
            self._report(error.message)
            self._callers, self._required = {}, True

    def _report(self, problem: str) -> None:
        """Remember a problem, and log it when it is new, not with every request."""
        if problem != self._problem:
            log.error("%s", problem)
        self._problem = problem


def _caller(key: StoredKey) -> Caller:
    grant = Grant(
        frozenset(key.scopes),
        None if key.indexes is None else frozenset(key.indexes),
        None if key.namespaces is None else frozenset(key.namespaces),
        key.per_second,
    )
    return Caller(grant, key.per_second, max(1.0, key.per_second or 0), time.monotonic())
