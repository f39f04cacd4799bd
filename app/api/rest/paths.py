"""Paths as clients mean them: names in a path may hold any character, slashes included.

ASGI servers hand over the path decoded, where a %2F can no longer be told from a slash. This wrapper puts the raw
path back, with the name between a fixed prefix and a fixed suffix as one encoded segment; handlers decode it once.
"""

import re
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from app.errors import InvalidArgument

_RECORDS = re.compile(rb"^(/records/namespaces/)(.+)(/(?:upsert|search))$", re.DOTALL)


def routable(raw_path: bytes) -> str:
    """The path to route on: raw, each name one segment."""
    raw_path = raw_path.partition(b"?")[0]
    found = _RECORDS.match(raw_path)
    if found:
        prefix, name, suffix = found.groups()
        return prefix.decode() + quote(unquote_to_bytes(name), safe="") + suffix.decode()
    return raw_path.decode("latin-1")


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
            scope = {**scope, "path": routable(scope["raw_path"])}
        await self._app(scope, receive, send)
