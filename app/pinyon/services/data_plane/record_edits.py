"""The record edits service: one record that a person adds or changes by hand."""

import hashlib
from typing import Any

import msgspec

from pinyon.auth import permissions
from pinyon.domain import Index, Metadata, Record
from pinyon.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from pinyon.services.data_plane.records.records import Records
from pinyon.services.data_plane.vectors import RawVector, Vectors


class RecordEdits:
    """Adds and changes records as Vectors and Records do, and overwrites nothing that its caller has not seen."""

    def __init__(self, vectors: Vectors, records: Records) -> None:
        self._vectors, self._records = vectors, records

    async def record(self, index: Index, namespace: str, id: str) -> Record:
        """One record. Raises NotFound."""
        records = (await self._vectors.fetch(index, namespace, [id])).records
        if not records:
            raise NotFound(f"There is no record '{id[:80]}' in the namespace '{namespace[:80]}' of {index.name}")
        return records[0]

    async def add(self, index: Index, namespace: str, raw: RawVector) -> None:
        """Store a new record: with its vector, or with a text that the index embeds.

        Raises AlreadyExists if there is a record with its id, or InvalidArgument.
        """
        self._check_rights(index, namespace)
        if isinstance(raw.id, str) and raw.id and (await self._vectors.fetch(index, namespace, [raw.id])).records:
            raise AlreadyExists(f"There is a record '{raw.id[:80]}' already; edit it, or choose another id")
        if index.spec.embed is None or raw.has_values or raw.sparse is not None:
            await self._vectors.upsert(index, namespace, [raw])
        else:
            await self._records.upsert(index, namespace, [{**(raw.metadata or {}), "_id": raw.id}])

    async def change(self, index: Index, namespace: str, id: str, fields: Metadata, seen: str) -> None:
        """Give a record these fields in place of its own. seen: version_of() the fields that the caller has changed.

        The vector stays as it is, if the text does and no field is removed. Otherwise an index that embeds embeds the
        text again. Raises NotFound, InvalidArgument, or FailedPrecondition if the fields were changed meanwhile.
        """
        self._check_rights(index, namespace)
        record = await self.record(index, namespace, id)
        if version_of(record.metadata) != seen:
            raise FailedPrecondition(
                f"Somebody else has changed the record '{id[:80]}' since you opened it. Nothing was saved; open it "
                "again to see its fields"
            )
        if absent := [name for name, value in fields.items() if value is None]:
            raise InvalidArgument(f"Field '{absent[0]}' is null; give it a value, or leave it out to remove it")
        embed = index.spec.embed
        text_changes = embed is not None and fields.get(embed.text_field) != record.metadata.get(embed.text_field)
        if not text_changes and fields.keys() >= record.metadata.keys():
            changed = {name: value for name, value in fields.items() if record.metadata.get(name) != value}
            if changed:
                await self._vectors.update(index, namespace, id, RawVector(id, metadata=changed), None, False)
        elif embed is not None and embed.text_field in fields:
            await self._records.upsert(index, namespace, [{**fields, "_id": id}])
        else:
            await self._vectors.upsert(index, namespace, [_raw(record, fields)])

    def _check_rights(self, index: Index, namespace: str) -> None:
        """Raises PermissionDenied unless the API key may read and write: an edit tells what there was before."""
        for scope in ("read", "write"):
            permissions.check(scope, index.handle, namespace)


def version_of(fields: Metadata) -> str:
    """A text that is another one for other fields."""
    return hashlib.sha256(msgspec.json.encode(fields, order="deterministic")).hexdigest()[:32]


def _raw(record: Record, fields: dict[str, Any]) -> RawVector:
    """A record with its own vectors and these fields."""
    sparse = None if record.sparse is None else (record.sparse.indices.tolist(), record.sparse.values.tolist())
    return RawVector(record.id, record.vector, sparse, fields)
