"""The storage seam: what the services ask of a storage engine.

Calls take plain domain values in batches. Each names an index, by its handle or by its name; calls about records name a
namespace too. All methods raise only errors of pinyon.errors. Each raises NotFound for an unknown index.

What every engine promises:
- A write that returned is on disk, as a whole. One that raised left nothing.
- Each write to an index has a number, the LSN. An index has one sequence of LSNs for all its namespaces. A later write
  has a higher one.
- Every later read sees a write that returned. An answer is one snapshot of its index: it shows every write up to its
  LSN, and no part of a later one.
- Ids of records and names of namespaces are ordered by their bytes in UTF-8.
- index(), indexes(), being_opened() and unusable() answer from this process's copy of the catalogue of indexes, without
  waiting. The catalogue may be somewhere else, and ahead of the copy. A change that depends on the newest state of an
  index compares its version, and raises VersionConflict if somebody else was faster.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

import msgspec

from pinyon.domain import (
    Backup,
    BackupLabel,
    CatalogueValue,
    FacetPlan,
    Facets,
    Fingerprint,
    Footprint,
    Index,
    IndexDetails,
    IndexRef,
    IndexSpec,
    Lease,
    NamespaceInfo,
    Note,
    Page,
    PagePlan,
    QueryAnswer,
    QueryPlan,
    Record,
    ReembeddedText,
    Reembedding,
    Selection,
    StoredText,
    UpdatePlan,
)
from pinyon.errors import PinyonError
from pinyon.shared_files import SharedFiles

MIN_LSN: ContextVar[int] = ContextVar("min_lsn", default=0)
"""The LSN of a write that the reads of the current request must see, because its sender has heard of it.

Reads see every write of their own process in any case. So only engines whose data several processes share, or that read
from replicas, need to look at it.
"""


class EngineLimits(msgspec.Struct, frozen=True):
    """What an engine cannot exceed. dimension: numbers of a dense vector."""

    dimension: int


class DataPlane(Protocol):
    """What there is to do with the records of an index."""

    async def upsert(
        self,
        index: IndexRef,
        namespace: str,
        records: Sequence[Record],
        fingerprint: Fingerprint | None = None,
        note: Note | None = None,
    ) -> int:
        """Store the records, all or none, replacing those with the same id; the last of equal ids wins.

        The namespace is made if need be. fingerprint: what embedded the vectors; kept with the first batch, and a
        batch embedded by anything else than the index's own raises EmbeddingMismatch. note: stored with the records, or
        not at all. Returns the LSN. Raises LeaseLost if the note names a lease that its owner does not have.
        """
        ...

    async def query(self, index: IndexRef, namespace: str, plan: QueryPlan) -> QueryAnswer:
        """The records nearest to a vector or to a stored record; an unknown namespace or id gives no matches.

        Raises EmbeddingMismatch if the plan says what embedded the vector, and the records were by something else.
        """
        ...

    async def page(self, index: IndexRef, namespace: str, plan: PagePlan) -> Page:
        """One page of records, in byte order of their ids (UTF-8). An unknown namespace has no records.

        A page is one snapshot: it shows every write up to its LSN, and nothing of a later one. The next page is
        another snapshot: a record that was written between the two may be missing or be new.
        """
        ...

    async def update(self, index: IndexRef, namespace: str, plan: UpdatePlan) -> tuple[int, int]:
        """Change the selected records, all or none. Returns how many there were, and the LSN.

        An unknown namespace has no records. Raises InvalidArgument if the selection or the merged metadata of a record
        is larger than the plan allows, or a vector has another dimension than the index.
        """
        ...

    async def count(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        """How many records are selected."""
        ...

    async def facets(self, index: IndexRef, namespace: str, plan: FacetPlan) -> Facets:
        """Count records by the values of a field, exactly. An unknown namespace has no records."""
        ...

    async def delete(self, index: IndexRef, namespace: str, selection: Selection) -> int:
        """Delete the selected records; the namespace stays. Returns the LSN. Raises NotFound without the namespace."""
        ...

    async def every_namespace(self, index: IndexRef) -> list[NamespaceInfo]:
        """Every namespace, in byte order of the names; the counts are exact."""
        ...

    async def namespaces(
        self, index: IndexRef, limit: int, after: str = "", prefix: str = ""
    ) -> tuple[list[NamespaceInfo], bool, int]:
        """Namespaces in byte order of their names, whether more follow, and how many have the prefix in all."""
        ...

    async def namespace(self, index: IndexRef, name: str) -> NamespaceInfo:
        """One namespace. Raises NotFound."""
        ...

    async def create_namespace(self, index: IndexRef, name: str, schema: dict[str, Any] | None) -> int:
        """Make an empty namespace. Returns the LSN. Raises AlreadyExists."""
        ...

    async def delete_namespace(self, index: IndexRef, name: str) -> int:
        """Delete a namespace with its records. Returns the LSN. Raises NotFound."""
        ...


class Engine(DataPlane, Protocol):
    """Indexes, and everything that is done with an index as a whole."""

    @property
    def limits(self) -> EngineLimits:
        """What no index can exceed."""
        ...

    @property
    def files(self) -> SharedFiles | None:
        """Small files of the services that every process with these data sees.

        None if only one process can have the data: it keeps such files in its data folder itself.
        """
        ...

    def problem(self) -> str | None:
        """Why no data can be read now, such as a database that does not answer; None if nothing is known to be wrong.

        Problems of single indexes are in unusable().
        """
        ...

    def disk_free(self) -> int | None:
        """Free bytes where the data are. None if the engine cannot know it. Raises OSError."""
        ...

    def connections(self) -> dict[str, int]:
        """Connections to a server by their state, and how many requests wait for one. Empty if there is no server."""
        ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Call this whenever another process may have changed the catalogue, its values, or the files.

        The call comes on the event loop, within about a second of the change, and also after changes of this process.
        Where only one process can have the data, it never comes.
        """
        ...

    async def create_index(self, spec: IndexSpec, details: IndexDetails | None = None) -> Index:
        """Make an empty index, as a whole or not at all. Raises AlreadyExists."""
        ...

    async def configure_index(self, changed: Index) -> Index:
        """Replace the details of an index, and how it embeds text. Returns the index with its next version.

        Raises VersionConflict, and changes nothing, if the index is not at the version that `changed` has.
        """
        ...

    async def delete_index(self, index: IndexRef, version: int | None = None) -> None:
        """Delete an index with everything in it. Nothing of it is left on disk.

        Raises VersionConflict, and deletes nothing, if the index is not at this version. None: whatever its version.
        The version of an index that cannot be used is not compared, because it cannot be read.
        """
        ...

    def index(self, index: IndexRef) -> Index:
        """One index. Raises NotFound."""
        ...

    def indexes(self) -> list[Index]:
        """Every index that can be used, by name."""
        ...

    async def opened(self, name: str) -> None:
        """Wait until an index of this name answers, or cannot be opened. Returns soon if there is none.

        Afterwards this process knows the index, even if another process has just made it.
        """
        ...

    async def all_opened(self) -> None:
        """Wait until every index is open, or cannot be. Until then calls for the others raise Unavailable."""
        ...

    def being_opened(self) -> set[str]:
        """Names of the indexes that do not answer yet, because they are being opened."""
        ...

    def unusable(self) -> dict[str, PinyonError]:
        """Indexes that cannot be used, or not be written to, by name; and the error that such a call raises."""
        ...

    def set_aside(self) -> list[str]:
        """What a start could not read and moved out of the way, by names that say when and why."""
        ...

    async def catalogue_values(self) -> dict[str, CatalogueValue]:
        """The values that services have stored beside the indexes, by key. An engine does not look into them."""
        ...

    async def put_catalogue_value(self, key: str, text: str, version: int) -> None:
        """Store a value, as a whole or not at all. version: that of the value which it replaces; 0 for a new key.

        Raises VersionConflict, and changes nothing, if the stored value is at another version.
        """
        ...

    async def notes(self, index: IndexRef) -> list[Note]:
        """The notes that services have stored with an index, in byte order of their keys.

        A copy of the index under another name has none. An engine does not look into them.
        """
        ...

    async def put_note(self, index: IndexRef, note: Note) -> None:
        """Store a note in place of the one with its key, or remove that one. Raises LeaseLost as upsert()."""
        ...

    async def take_lease(self, lease: Lease, seconds: float) -> bool:
        """Take or renew a lease for so many seconds from now. False while another owner has it.

        The clock is the engine's own. The lease ends after that time, or when it is released.
        """
        ...

    async def release_lease(self, lease: Lease) -> None:
        """End a lease, because the job is done. Another owner's lease is left alone."""
        ...

    async def expired_leases(self, prefix: str) -> list[str]:
        """Names with this prefix of leases that expired and were not released: jobs that nobody does any more."""
        ...

    async def footprint(self, index: IndexRef) -> Footprint:
        """The LSN of the last write, and how much room the index takes, by kinds that the engine names."""
        ...

    async def fingerprint(self, index: IndexRef) -> Fingerprint | None:
        """What embedded the records of the index; None while nothing has."""
        ...

    def answer_exactly(self, index: IndexRef, namespace: str) -> None:
        """From now on answer exactly for this namespace, because approximate answers missed too much.

        An index or a namespace that is gone is left alone.
        """
        ...

    async def compact(self, index: IndexRef) -> tuple[int, int]:
        """Give back the room of deleted records. Returns the bytes before and after. Searches go on meanwhile."""
        ...

    async def create_backup(self, index: IndexRef, label: BackupLabel) -> Backup:
        """Copy an index as it is at one moment. Reads and writes go on meanwhile. The copy is complete or absent.

        Raises AlreadyExists if there is a backup with this id, Unavailable if the disk fails or is full.
        """
        ...

    async def backups(self) -> list[Backup]:
        """Every complete backup, oldest first. They outlast the indexes that they are of."""
        ...

    async def delete_backup(self, id: str) -> None:
        """Delete a backup. Raises NotFound."""
        ...

    async def backup_namespaces(self, id: str) -> list[NamespaceInfo]:
        """The namespaces that a backup has, in byte order of their names.

        Raises NotFound, DataLoss if the backup is damaged, or FailedPrecondition if another version made it.
        """
        ...

    async def backup_page(self, id: str, namespace: str, plan: PagePlan) -> Page:
        """Like page(), of the records that a backup has. All its pages are of the same moment.

        Raises as backup_namespaces().
        """
        ...

    async def restore_backup(self, id: str, name: str, index_id: str, details: IndexDetails) -> Index:
        """Make a new index of a backup, as a whole or not at all. index_id: that of the new index's handle.

        Raises NotFound without the backup, AlreadyExists, and DataLoss or FailedPrecondition if the backup is damaged
        or was made by a later version.
        """
        ...

    async def reembedding(self, index: IndexRef) -> Reembedding | None:
        """How far the index is on its way to another embedding; None if it is on none."""
        ...

    async def begin_reembedding(self, index: IndexRef, target: IndexSpec, embedded_by: Fingerprint) -> None:
        """Begin to collect new vectors, or go on with what is there for the same target.

        Raises FailedPrecondition if a record has no text to embed.
        """
        ...

    async def texts_to_reembed(self, index: IndexRef, most: int) -> list[StoredText]:
        """Some of the texts that have no new vector yet; none when all have one."""
        ...

    async def keep_reembedded(self, index: IndexRef, embedded_by: Fingerprint, texts: Sequence[ReembeddedText]) -> bool:
        """Store new vectors. Those of texts that have changed meanwhile are dropped.

        Returns whether the index is still on its way to this embedding. If it is not, all are dropped.
        """
        ...

    async def finish_reembedding(self, index: IndexRef) -> bool:
        """If every record has a new vector, make them the vectors of the index in one step. Returns whether it did."""
        ...

    async def cancel_reembedding(self, index: IndexRef) -> None:
        """Drop the new vectors; the index stays as it is."""
        ...

    async def close(self) -> None:
        """Finish what runs, then let the data go."""
        ...
