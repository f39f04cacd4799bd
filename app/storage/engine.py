"""The storage seam: what the services ask of a place that keeps records.

Plain domain values in batches, each call addressed by index and namespace. No SQL, no row ids, no engine limits.
A write that returned is on disk; it returns a sequence number (the LSN), and every later read sees it. All methods
raise only errors of app.errors.
"""

from collections.abc import Sequence
from typing import Protocol

from app.domain import Fingerprint, IndexSpec, QueryAnswer, QueryPlan, Record


class Engine(Protocol):
    """One folder of indexes."""

    async def create_index(self, spec: IndexSpec) -> None:
        """Make an empty index. Raises AlreadyExists."""
        ...

    async def indexes(self) -> list[IndexSpec]:
        """Every index, by name."""
        ...

    async def fingerprint(self, index: str) -> Fingerprint | None:
        """What embedded the records of the index; None while nothing has."""
        ...

    async def upsert(
        self, index: str, namespace: str, records: Sequence[Record], fingerprint: Fingerprint | None = None
    ) -> int:
        """Store the records, all or none, replacing those with the same id; the last of equal ids wins.

        fingerprint: what embedded the vectors; kept with the first batch, and a batch embedded by anything else
        than the index's own raises FailedPrecondition. Returns the LSN of the write.
        """
        ...

    async def query(self, index: str, namespace: str, plan: QueryPlan) -> QueryAnswer:
        """The records nearest to a vector or to a stored record; an unknown namespace or id gives no matches."""
        ...

    async def close(self) -> None:
        """Finish what runs, fold the log into the file, let the folder go."""
        ...
