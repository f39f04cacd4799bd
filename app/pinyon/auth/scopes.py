"""The scopes of API keys. A file of its own, so that `pinyon --help` lists them without importing numpy."""

from typing import Literal, get_args

Scope = Literal["read", "write", "control"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""read: search, fetch, list and count records. write: change records. control: create, change and delete indexes."""
