"""The stylesheet, the script and the picture of the console. Their addresses change with their content."""

import hashlib
from functools import cache
from importlib.resources import files

from pinyon.console.paths import STATIC
from pinyon.errors import NotFound

KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "cache-control": "public, max-age=31536000, immutable",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


@cache
def read(name: str) -> tuple[bytes, str]:
    """The content of a file and its media type. Raises NotFound."""
    kind = KINDS.get(name[name.rfind(".") :])
    file = files("pinyon.console") / "static" / name
    if kind is None or "/" in name or "\\" in name or not file.is_file():
        raise NotFound(f"There is no file {name[:80]}")
    return file.read_bytes(), kind


def address(name: str) -> str:
    """Where a browser finds a file. Raises NotFound."""
    return f"{STATIC}{name}?v={hashlib.sha256(read(name)[0]).hexdigest()[:12]}"
