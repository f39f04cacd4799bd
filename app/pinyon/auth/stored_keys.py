"""What is stored of API keys. A key has 256 random bits; its SHA-256 is stored. Pure, but for the random bits."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from pinyon import decoding
from pinyon.auth.scopes import SCOPES, Scope
from pinyon.errors import AlreadyExists, NotFound

FILE = "keys.json"
PREFIX = "pinyon_"


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


def with_new_key(keys: Sequence[StoredKey], name: str, limits: Limits) -> tuple[list[StoredKey], str]:
    """The keys with a new one, and the new one itself, which is not stored. Raises AlreadyExists for a taken name."""
    if any(key.name == name for key in keys):
        raise AlreadyExists(f"There is a key named {name} already; revoke it first, or choose another name")
    key = PREFIX + secrets.token_urlsafe(32)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [*keys, StoredKey(name, digest(key), now, **msgspec.structs.asdict(limits))], key


def with_keys(keys: Sequence[StoredKey], more: Sequence[StoredKey]) -> list[StoredKey]:
    """The keys with those of another installation. Raises AlreadyExists if a different key has one of their names."""
    by_name = {key.name: key for key in keys}
    for key in more:
        if by_name.setdefault(key.name, key).sha256 != key.sha256:
            raise AlreadyExists(f"There is another key named {key.name} already; revoke one of the two first")
    return list(by_name.values())


def without_key(keys: Sequence[StoredKey], name: str) -> list[StoredKey]:
    """The keys without the one of this name. Raises NotFound if there is none."""
    others = [key for key in keys if key.name != name]
    if len(others) == len(keys):
        raise NotFound(f"There is no key named {name}; there are: {', '.join(key.name for key in keys) or 'none'}")
    return others


def decoded(content: bytes) -> list[StoredKey]:
    """The keys of a file. Raises msgspec.MsgspecError if it is damaged."""
    return decoding.decode(content, list[StoredKey])


def encoded(keys: Sequence[StoredKey]) -> bytes:
    """The content of a file with these keys."""
    return msgspec.json.format(msgspec.json.encode(keys))


def digest(key: str) -> str:
    """SHA-256 in hex. A slow password hash is not needed, because nobody can guess 256 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()
