"""Records whose text the index embeds: checked, embedded, stored."""

from collections.abc import Sequence
from typing import Any

import msgspec

from pinyon.auth import permissions
from pinyon.domain import Fingerprint, Index, Metadata, Note, Record
from pinyon.errors import InvalidArgument, TextTooLong
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.data_plane import validation
from pinyon.services.data_plane.records.foreign_vectors import ForeignVectors
from pinyon.services.data_plane.records.index_texts import IndexTexts, sparse_model
from pinyon.services.inference.inference import Inference
from pinyon.settings import LimitSettings
from pinyon.storage.engine import DataPlane


class UpsertResult(msgspec.Struct, frozen=True):
    """What an upsert did. models: labels of the models that embedded.

    truncated: records whose text was cut before it was embedded. foreign: records of the namespace with vectors that a
    caller brought, if those are of another model than the one that embeds here.
    """

    count: int
    lsn: int
    models: list[str]
    truncated: int
    foreign: int = 0


class TextRecord(msgspec.Struct, frozen=True):
    """A record that was checked. encoded: its fields as JSON."""

    id: str
    fields: Metadata
    encoded: bytes


class EmbeddedRecords(msgspec.Struct, frozen=True):
    """Records that can be stored. fingerprint: what embedded them. The others are as in UpsertResult."""

    records: list[Record]
    fingerprint: Fingerprint
    models: list[str]
    foreign: int


class TextUpserts:
    """Upserts of text, in every index of an installation. texts: what embeds them."""

    def __init__(
        self,
        engine: DataPlane,
        indexes: Indexes,
        inference: Inference,
        texts: IndexTexts,
        limits: LimitSettings,
        foreign: ForeignVectors,
    ) -> None:
        self._engine, self._indexes, self._inference = engine, indexes, inference
        self.texts, self._limits, self._foreign = texts, limits, foreign

    def check(self, row: dict[str, Any], where: str, text_field: str) -> TextRecord:
        """A row with its id in `_id` or `id`, as a record. where: names the row in messages. Raises InvalidArgument."""
        fields = dict(row)
        alias, raw_id = fields.pop("id", None), fields.pop("_id", None)
        raw_id = alias if raw_id is None else raw_id
        if raw_id is None:
            raise InvalidArgument(f"{where} has no '_id'")
        id = validation.record_id(raw_id, where, self._limits, "_id")
        text = fields.get(text_field)
        if not isinstance(text, str):
            problem = "is missing" if text is None else f"must be a string, got {type(text).__name__}"
            raise InvalidArgument(f"Missing or invalid field '{text_field}' in record '{id}': it {problem}")
        if not text.strip():
            raise InvalidArgument(
                f"Missing or invalid field '{text_field}' in record '{id}': it must be non-empty text"
            )
        return TextRecord(id, *validation.metadata(fields, f"Record '{id}'", self._limits.metadata_bytes))

    async def embed(self, index: Index, namespace: str, checked: Sequence[TextRecord]) -> EmbeddedRecords:
        """Embed the texts of records, for this namespace.

        Raises TextTooLong, whose position is that of the record; FailedPrecondition if its vectors cannot be compared
        with those of the namespace; Unavailable.
        """
        spec, embed = index.spec, index.spec.embed
        assert embed is not None
        embedder: Any = await self._indexes.embedders.get(index)
        foreign = 0
        if self._foreign.concern(embedder):
            count = await self._indexes.foreign_vectors(index.handle, namespace)
            foreign = self._foreign.check(spec.name, embedder, count)
        texts = [record.fields[embed.text_field] for record in checked]
        embedded = await self.texts.embed(
            spec,
            embedder,
            texts,
            embed.write_input_type,
            embed.write_truncate,
            embed.write_max_tokens,
            "codes" if embed.token_vectors == "stored" else None,
        )
        sparse = sparse_model(spec, embedder)
        words = await self._inference.learned_words(sparse, texts, embed.write_input_type)
        records = [
            Record(r.id, text.vector, r.fields, text.sparse, text.truncated, r.encoded, learned, text.token_codes)
            for r, text, learned in zip(checked, embedded, words, strict=True)
        ]
        models = [embedder.label] if sparse is None else [embedder.label, sparse.label]
        return EmbeddedRecords(records, embedder.fingerprint, models, foreign)

    async def store(self, index: Index, namespace: str, embedded: EmbeddedRecords, note: Note | None = None) -> int:
        """Store records. Returns the LSN. note: as in DataPlane.upsert().

        Raises EmbeddingMismatch if the index was re-embedded since they were embedded.
        """
        return await self._engine.upsert(index.handle, namespace, embedded.records, embedded.fingerprint, note)

    async def upsert(self, index: Index, namespace: str, rows: Sequence[Any]) -> UpsertResult:
        """Embed and store the rows (decoded JSON), all or none. Raises InvalidArgument before anything is stored."""
        return await self.texts.repeat_if_reembedded(index, lambda index: self._upsert(index, namespace, rows))

    async def _upsert(self, index: Index, namespace: str, rows: Sequence[Any]) -> UpsertResult:
        name = validation.namespace_name(namespace, self._limits)
        permissions.check("write", index.handle, name)  # the engine checks it too, but after the texts were embedded
        await self._indexes.embedders.get(index)  # raises unless the index embeds
        embed = index.spec.embed
        assert embed is not None
        if not rows:
            raise InvalidArgument("The request holds no records; send one JSON object per line")
        limit = self._limits.records_per_upsert
        if len(rows) > limit:
            raise InvalidArgument(f"Batch size exceeds {limit}: the request holds {len(rows)} records")
        checked = []
        for place, row in enumerate(rows, start=1):
            if not isinstance(row, dict):
                raise InvalidArgument(f"Record {place} must be a JSON object, got {type(row).__name__}")
            checked.append(self.check(row, f"Record {place}", embed.text_field))
        try:
            embedded = await self.embed(index, name, checked)
        except TextTooLong as error:
            raise too_long(error, checked[error.position].id, embed.text_field) from error
        lsn = await self.store(index, name, embedded)
        truncated = sum(record.truncated for record in embedded.records)
        return UpsertResult(len(checked), lsn, embedded.models, truncated, embedded.foreign)


def too_long(error: TextTooLong, id: str, text_field: str) -> InvalidArgument:
    """The same error about a record."""
    return InvalidArgument(
        f"Field '{text_field}' in record '{id}' has {error.tokens} tokens, which exceeds the maximum of {error.limit} "
        f"tokens for model '{error.model}'"
    )
