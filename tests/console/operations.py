"""What each page of the console is for: the matrix that test_permissions.py tries with every kind of key."""

from typing import Any

import msgspec
from pinyon.auth.scopes import Scope


class Operation(msgspec.Struct, frozen=True):
    """A request of a page. scope: what the key needs. {ns} and {ix} stand for a namespace and an index.

    form: the fields of a POST. whole: whether it needs a key for all indexes and namespaces.
    """

    scope: Scope
    method: str
    path: str
    form: dict[str, Any] | None = None
    whole: bool = False


CONSOLE: dict[str, list[Operation]] = {
    "pinyon_console_search": [Operation("read", "GET", "/console?index={ix}")],
}
"""By operation. Every operation of the console is here or in PUBLIC_PAGES."""
PUBLIC_PAGES = {
    "pinyon_home",
    "pinyon_console_login_page",
    "pinyon_console_login",
    "pinyon_console_logout",
    "pinyon_console_file",
}
"""Operations that reveal and change nothing, whoever asks."""
