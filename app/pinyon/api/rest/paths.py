"""Paths as clients mean them: names in a path may hold any character, slashes included.

ASGI servers hand over the path decoded, where a %2F can no longer be told from a slash. This wrapper puts the raw
path back, with the name between a fixed prefix and a fixed suffix as one encoded segment; handlers decode it once.
"""

import re
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from pinyon.domain import DEFAULT_NAMESPACE
from pinyon.errors import InvalidArgument

_NAMED = re.compile(rb"\A(?:(/records/namespaces/)(.*)(/(?:upsert|search))|(/namespaces/)(.+))\Z", re.DOTALL)


def routable(raw_path: bytes, path: str) -> str:
    """The path to route on: as the server decoded it, but with a namespace as one encoded segment."""
    found = _NAMED.match(raw_path.partition(b"?")[0])
    if not found:
        return path
    prefix, name, suffix = found.group(1) or found.group(4), found.group(2) or found.group(5), found.group(3) or b""
    segment = quote(unquote_to_bytes(name or b""), safe="") or DEFAULT_NAMESPACE  # some clients leave that one empty
    return f"{prefix.decode()}{segment}{suffix.decode()}"


def name_in_path(segment: str) -> str:
    """The name an encoded segment stands for. Raises InvalidArgument if it is not text."""
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"The name '{segment[:80]}' in the path is not valid UTF-8") from None


class RawPaths:
    """ASGI wrapper: route on the raw path."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": routable(scope["raw_path"], scope["path"])}
        await self._app(scope, receive, send)
