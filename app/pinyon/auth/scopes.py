"""The scopes of API keys. They have their own file, so that `pinyon --help` can list them without importing numpy."""

from typing import Literal, get_args

Scope = Literal["read", "write", "control"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""read: search, fetch, list and count records. write: change records. control: create, change and delete indexes."""
