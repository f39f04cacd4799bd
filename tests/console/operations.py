"""What each page of the console is for: the matrix that test_permissions.py tries with every kind of key."""

from typing import Any

import msgspec
from pinyon.auth.scopes import Scope


class Operation(msgspec.Struct, frozen=True):
    """A request of a page. scope: what the key needs. {ns} and {ix} stand for a namespace and an index.

    also: another scope that it needs. form: the fields of a POST. whole: whether it needs a key for all indexes and namespaces; every_namespace: for all namespaces of its index.
    """

    scope: Scope
    method: str
    path: str
    form: dict[str, Any] | None = None
    whole: bool = False
    every_namespace: bool = False
    also: Scope | None = None


RECORDS = "index={ix}&namespace={ns}"
NO_UPLOAD = "0" * 32
CONSOLE: dict[str, list[Operation]] = {
    "pinyon_console_search": [
        Operation("read", "GET", "/console?index={ix}"),
        Operation("read", "GET", "/console?index={ix}&namespace={ns}&id=r1"),
    ],
    "pinyon_console_check_filter": [Operation("read", "GET", "/console/check-filter?filter=%7B%7D")],
    "pinyon_console_judge": [
        Operation("read", "GET", "/console/judge?index={ix}"),
    ],
    "pinyon_console_mark": [
        Operation("write", "POST", f"/console/judge/mark?{RECORDS}&q=x", {"good": "0-1 r1"}, also="read")
    ],
    "pinyon_console_measure": [Operation("write", "POST", f"/console/judge/measure?{RECORDS}", {}, also="read")],
    "pinyon_console_export_judgements": [Operation("read", "GET", f"/console/judge/export?{RECORDS}")],
    "pinyon_console_browse": [
        Operation("read", "GET", "/console/browse?index={ix}"),
        Operation("read", "GET", f"/console/browse?{RECORDS}&facet=secret"),
    ],
    "pinyon_console_record": [Operation("read", "GET", f"/console/record?{RECORDS}&id=r1")],
    "pinyon_console_add_page": [Operation("write", "GET", "/console/record/add?index={ix}")],
    "pinyon_console_add": [
        Operation("write", "POST", "/console/record/add?index={ix}", {"namespace": "{ns}", "id": "r1"}, also="read")
    ],
    "pinyon_console_edit_page": [Operation("write", "GET", f"/console/record/edit?{RECORDS}&id=r1", also="read")],
    "pinyon_console_edit": [
        Operation("write", "POST", f"/console/record/edit?{RECORDS}&id=r1", {"fields": "{}", "seen": "x"}, also="read")
    ],
    "pinyon_console_delete_page": [Operation("write", "GET", f"/console/record/delete?{RECORDS}&id=r1")],
    "pinyon_console_delete": [Operation("write", "POST", f"/console/record/delete?{RECORDS}&id=none")],
    "pinyon_console_overview": [Operation("read", "GET", "/console/overview")],
    "pinyon_console_keys": [Operation("control", "GET", "/console/keys", whole=True)],
    "pinyon_console_create_key": [
        Operation("control", "POST", "/console/keys", {"name": "made", "scope": "control"}, whole=True)
    ],
    "pinyon_console_revoke_page": [Operation("control", "GET", "/console/keys/revoke?name=none", whole=True)],
    "pinyon_console_revoke": [Operation("control", "POST", "/console/keys/revoke?name=none", whole=True)],
    "pinyon_console_import_page": [Operation("write", "GET", "/console/import?index={ix}", every_namespace=True)],
    "pinyon_console_upload": [Operation("write", "POST", "/console/import?index={ix}", {}, every_namespace=True)],
    "pinyon_console_preview": [
        Operation("write", "GET", f"/console/import/file?index={{ix}}&id={NO_UPLOAD}", every_namespace=True)
    ],
    "pinyon_console_start_import": [
        Operation("write", "POST", f"/console/import/file?index={{ix}}&id={NO_UPLOAD}", {}, every_namespace=True)
    ],
    "pinyon_console_cancel_import": [
        Operation("write", "POST", "/console/import/cancel?index={ix}&id=none", {}, every_namespace=True)
    ],
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
