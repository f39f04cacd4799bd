"""Keeps the change log of a namespace (schema/changes.py) as long as somebody needs it, and no longer.

Inverted files, columns and cached vectors are brought up to date from the log. Without any of them, changes are not
logged.
"""

from functools import partial

from pinyon.storage.sqlite.connection.database import Database
from pinyon.storage.sqlite.options import Tuning
from pinyon.storage.sqlite.schema import changes
from pinyon.storage.sqlite.upkeep.namespace_state import NamespaceState, log_changes
from pinyon.storage.sqlite.vectors.vector_cache import VectorCache


class ChangeLogUpkeep:
    """Starts, trims and stops change logs."""

    def __init__(self, vectors: VectorCache, tuning: Tuning) -> None:
        self._vectors, self._tuning = vectors, tuning

    async def maintain(
        self, database: Database, state: NamespaceState, ivf_from: int | None, columns_from: int | None
    ) -> None:
        """Fit the log to what is needed.

        ivf_from, columns_from: the oldest version that the inverted file and the columns need; None: they need none.
        Whoever is at version 7 needs the changes after 7. Cached vectors count only where there is no inverted file.
        """
        vectors_from = self._needed_by_vectors(state) if ivf_from is None else None
        needed = [version for version in (ivf_from, columns_from, vectors_from) if version is not None]
        if not needed:
            if state.logged_from is not None:
                await database.write(partial(changes.stop, ns=state.ns))
        elif state.logged_from is None:
            await log_changes(database, state)
        elif min(needed) > state.logged_from + (self._tuning.log_spare_versions if ivf_from is None else 0):
            await database.write(partial(changes.trim, ns=state.ns, version=min(needed)))

    def _needed_by_vectors(self, state: NamespaceState) -> int | None:
        """The version of the cached vectors, if they can still be brought up to date."""
        cached = self._vectors.latest(state.key) if state.count >= self._tuning.vectors_logged_from else None
        if cached is None or state.version - cached.version > self._tuning.vectors_changed_writes:
            return None
        return cached.version
