"""Routes on the raw path, because names in a path may contain any character, even a slash.

An ASGI server decodes the path, so that %2F and a slash look the same. This wrapper takes the raw path instead and
keeps the name in it as one encoded segment. Handlers decode the segment.
"""

import re
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from pinyon.domain import DEFAULT_NAMESPACE
from pinyon.errors import InvalidArgument

_NAMED = re.compile(rb"\A(?:(/records/namespaces/)(.*)(/(?:upsert|search|facets))|(/namespaces/)(.+))\Z", re.DOTALL)


def routable(raw_path: bytes, path: str) -> str:
    """The decoded path, but with the namespace in it as one encoded segment."""
    parts = _NAMED.match(raw_path.partition(b"?")[0])
    if not parts:
        return path
    prefix, name, suffix = parts.group(1) or parts.group(4), parts.group(2) or parts.group(5), parts.group(3) or b""
    segment = quote(unquote_to_bytes(name or b""), safe="") or DEFAULT_NAMESPACE  # some clients leave it empty
    return f"{prefix.decode()}{segment}{suffix.decode()}"


def name_in_path(segment: str) -> str:
    """Decode a segment of a path. Raises InvalidArgument if it is not UTF-8."""
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"The name '{segment[:80]}' in the path is not valid UTF-8") from None


class RawPaths:
    """ASGI wrapper that routes on the raw path."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": routable(scope["raw_path"], scope["path"])}
        await self._app(scope, receive, send)
