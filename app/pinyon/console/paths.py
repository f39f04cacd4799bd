"""Where the console is. Pure."""

from urllib.parse import urlencode, urlsplit

ROOT = "/console"
LOGIN = f"{ROOT}/login"
STATIC = f"{ROOT}/static/"
BROWSE = f"{ROOT}/browse"
OVERVIEW = f"{ROOT}/overview"
IMPORT = f"{ROOT}/import"
KEYS = f"{ROOT}/keys"
RECORD = f"{ROOT}/record"
JUDGE = f"{ROOT}/judge"
CHECK_FILTER = f"{ROOT}/check-filter"
KEY_COOKIE = "pinyon_key"
"""The cookie with the API key of whoever is logged in. Scripts cannot read it, and no other site's request sends it."""


def is_console(path: str) -> bool:
    """Whether the path is one of the console's."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def is_public(path: str) -> bool:
    """Whether the page needs no API key."""
    return path in ("/", LOGIN) or path.startswith(STATIC)


def local_target(target: str) -> str:
    """A page of the console to go to after a log-in: the one that is named, or the first one if it is elsewhere."""
    parts = urlsplit(target)
    is_local = not parts.scheme and not parts.netloc and "\\" not in target and ".." not in parts.path
    return target if is_local and is_console(parts.path) and not is_public(parts.path) else ROOT


def address(path: str, **values: str | list[str] | None) -> str:
    """A page with its state in the address. Values that are None or empty are left out."""
    query = urlencode({name: value for name, value in values.items() if value}, doseq=True)
    return f"{path}?{query}" if query else path
