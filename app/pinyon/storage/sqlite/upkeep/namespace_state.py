"""What upkeep needs to know about a namespace, read in one snapshot."""

from functools import partial
from typing import Any

import apsw
import msgspec

from pinyon.domain import Handle, IndexSpec
from pinyon.storage.sqlite.connection.database import Database
from pinyon.storage.sqlite.schema import changes, tables
from pinyon.storage.sqlite.vectors.vector_cache import Key


class NamespaceState(msgspec.Struct):
    """A namespace as one snapshot sees it.

    key: the index's handle and the namespace's number. count: its records. version: the LSN of its last write.
    logged_from: changes after this version are in the change log; None: changes are not logged.
    """

    key: Key
    name: str
    spec: IndexSpec
    count: int
    version: int
    logged_from: int | None

    @property
    def ns(self) -> int:
        """The number of the namespace in its index."""
        return self.key[1]


async def read_state(database: Database, handle: Handle, namespace: str) -> NamespaceState | None:
    """Return the state of a namespace, or None if it does not exist."""

    def read(connection: apsw.Connection) -> NamespaceState | None:
        row: Any = connection.execute(
            "SELECT ns, record_count, version, followed FROM namespaces WHERE name = ?", (namespace,)
        ).get
        if row is None:
            return None
        ns, count, version, logged_from = row
        return NamespaceState((handle, ns), namespace, tables.known_spec(connection), count, version, logged_from)

    return await database.read(read)


async def log_changes(database: Database, state: NamespaceState) -> bool:
    """Have changes logged from now on, and note it in the state. Returns False if the namespace is gone."""
    state.logged_from = await database.write(partial(changes.follow, ns=state.ns))
    return state.logged_from is not None
