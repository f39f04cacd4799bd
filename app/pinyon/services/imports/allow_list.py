"""Decides whether an address may be imported from: the setting [import] allow lists what may."""

import os.path
import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from pinyon.errors import InvalidArgument
from pinyon.services.imports.local_files import LocalFiles
from pinyon.services.imports.remote_files import RemoteFiles
from pinyon.services.imports.sources import Source, not_allowed

REMOTE = ("s3", "gs", "https", "http")
LONGEST_ADDRESS = 1_500
"""Characters."""
_DOTS = re.compile(r"(^|/)\.{1,2}(/|$)")


def source(address: str, allow: Sequence[str]) -> Source:
    """What is behind an address. It looks for links of paths on this machine, so call it on a thread.

    Raises PermissionDenied if the list does not have the address, InvalidArgument if it is none.
    """
    if not 1 <= len(address) <= LONGEST_ADDRESS:
        raise InvalidArgument(f"The uri has {len(address)} characters; 1 to {LONGEST_ADDRESS} are allowed")
    if not address.isprintable():
        raise InvalidArgument("The uri has characters that cannot be printed")
    scheme, separator, rest = address.partition("://")
    if not separator or scheme == "file":
        return LocalFiles(_path(address, rest if separator else None), [each for each in allow if _is_local(each)])
    if scheme not in REMOTE:
        allowed = ", ".join(f"{each}://" for each in ("file", *REMOTE))
        raise InvalidArgument(f"The uri begins with {scheme[:20]}://; allowed are an absolute path, and {allowed}")
    _check_plain(scheme, rest)
    if not any(_is_below(address, each) for each in allow if not _is_local(each)):
        raise not_allowed()
    return RemoteFiles(address)


def _is_local(entry: str) -> bool:
    return "://" not in entry


def _path(address: str, rest: str | None) -> str:
    """The absolute path of an address on this machine. rest: what follows file://, or None if it is a path."""
    path = address
    if rest is not None:
        host, slash, below = rest.partition("/")
        if host not in ("", "localhost"):
            raise InvalidArgument(
                "A file:// address has three slashes and an absolute path, such as file:///data/import"
            )
        path = slash + unquote(below)
    if not os.path.isabs(path) or "\0" in path:
        raise InvalidArgument("A path has to be absolute, such as /data/import or file:///data/import")
    return path


def _check_plain(scheme: str, rest: str) -> None:
    """Raises InvalidArgument for an address that one program may read otherwise than another."""
    place = rest.partition("?")[0] if scheme in ("http", "https") else rest
    host, _, path = place.partition("/")
    decoded = unquote(path)
    if not host or "@" in host or "\\" in place or "#" in rest or "//" in decoded or _DOTS.search(decoded):
        raise InvalidArgument(
            "The uri has to be plain: a host or a bucket, and a path without '.', '..', '//', '\\' or '#'"
        )


def _is_below(address: str, entry: str) -> bool:
    """Whether an address is an entry, or below it. Hosts are compared whole, paths name by name."""
    if entry.endswith("://"):
        return address.startswith(entry)
    one, other = urlsplit(address), urlsplit(entry)
    if (one.scheme, one.netloc.lower()) != (other.scheme, other.netloc.lower()):
        return False
    allowed = other.path.rstrip("/")
    return one.path == allowed or one.path.startswith(allowed + "/")
