"""The vectors service: records whose vectors the caller brings."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon import filters
from pinyon.domain import (
    Index,
    IndexSpec,
    Match,
    NamespaceInfo,
    Page,
    PagePlan,
    QueryPlan,
    Record,
    Selection,
    SparseVector,
    UpdatePlan,
)
from pinyon.errors import InvalidArgument
from pinyon.services import pages
from pinyon.services.data_plane import read_units, sizes, validation
from pinyon.settings import LimitSettings
from pinyon.storage.engine import DataPlane

FETCH_PAGE = 100
"""Records of a fetched page if the request does not say how many."""


class RawVector(msgspec.Struct, frozen=True):
    """A vector as a client sent it: decoded, but not checked. sparse: indices and values."""

    id: Any
    values: list[float] | NDArray[np.float32] | None = None
    sparse: tuple[list[int], list[float]] | None = None
    metadata: dict[str, Any] | None = None

    @property
    def has_values(self) -> bool:
        """Whether there are dense values. An empty list has none."""
        return self.values is not None and len(self.values) > 0


class RawQuery(msgspec.Struct, frozen=True):
    """A query as a client sent it: decoded, but not checked. sparse: indices and values."""

    top_k: int
    vector: list[float] | None = None
    sparse: tuple[list[int], list[float]] | None = None
    id: str | None = None
    filter: dict[str, Any] | None = None
    include_values: bool = False
    include_metadata: bool = False


class QueryResult(msgspec.Struct, frozen=True):
    """Hits, best first, and the last write that was visible."""

    matches: list[Match]
    read_units: int
    lsn: int


class FetchResult(msgspec.Struct, frozen=True):
    """Records, and the last write that was visible. next: the token of the next page; None on the last page."""

    records: list[Record]
    read_units: int
    lsn: int
    next: str | None = None


class Vectors:
    """Every operation on vectors, for every index of an installation."""

    def __init__(self, engine: DataPlane, limits: LimitSettings) -> None:
        self._engine, self._limits = engine, limits

    async def upsert(self, index: Index, namespace: str, vectors: Sequence[RawVector]) -> tuple[int, int]:
        """Store the vectors, all or none. Returns how many there were, and the LSN.

        Raises InvalidArgument before anything is stored.
        """
        spec, name = index.spec, validation.namespace_name(namespace, self._limits)
        if not vectors:
            raise InvalidArgument("Invalid request: it has no vectors")
        most = self._limits.vectors_per_upsert
        if len(vectors) > most:
            raise InvalidArgument(
                f"Batch size exceeds {most}: the request holds {len(vectors)} vectors, which exceeds the maximum "
                "supported size"
            )
        records = [self.checked(spec, f"Vector {place}", raw) for place, raw in enumerate(vectors, start=1)]
        self._limits.check_upsert(sizes.of_records(records))
        return len(records), await self._engine.upsert(index.handle, name, records)

    def checked(self, spec: IndexSpec, where: str, raw: RawVector) -> Record:
        """A vector as a record of this index. where: names the vector in messages. Raises InvalidArgument."""
        id = validation.record_id(raw.id, where, self._limits)
        try:
            sparse = self._sparse(raw.sparse, spec)
            vector = None
            if raw.has_values or not spec.sparse:
                vector = validation.dense_vector([] if raw.values is None else raw.values, spec)
            elif sparse is None:
                raise InvalidArgument("Sparse vectors must contain at least one value")
        except InvalidArgument as error:
            raise InvalidArgument(f"{error.message} (vector '{id}')") from None
        fields, encoded = validation.metadata(raw.metadata or {}, f"Vector '{id}'", self._limits.metadata_bytes)
        return Record(id, vector, fields, sparse, metadata_json=encoded)

    def _sparse(self, raw: tuple[list[int], list[float]] | None, spec: IndexSpec) -> SparseVector | None:
        return None if raw is None else validation.sparse_vector(*raw, spec, self._limits.sparse_terms)

    async def query(self, index: Index, namespace: str, raw: RawQuery) -> QueryResult:
        """The nearest vectors. Raises InvalidArgument."""
        spec, name = index.spec, validation.namespace_name(namespace, self._limits)
        if not 1 <= raw.top_k <= self._limits.top_k:
            raise InvalidArgument(f"top_k must be between 1 and {self._limits.top_k}, got {raw.top_k}")
        validation.query_input(spec, bool(raw.vector), raw.sparse is not None, raw.id is not None)
        if raw.id is not None:
            validation.record_id(raw.id, "The query", self._limits)
        sparse = self._sparse(raw.sparse, spec)
        vector = validation.dense_vector(raw.vector, spec, stored=False) if raw.vector else None
        condition = filters.parse(raw.filter, self._limits.filter_values) if raw.filter is not None else None
        plan = QueryPlan(raw.top_k, vector, sparse, raw.id, condition, raw.include_values)
        answer = await self._engine.query(index.handle, name, plan)
        if len(answer.matches) * self._largest_record(spec) > self._limits.result_bytes:
            advice = "ask for fewer with top_k, or leave the values or the metadata out"
            self._limits.check_answer(sizes.of_matches(answer.matches, raw.include_metadata), advice)
        return QueryResult(answer.matches, read_units.of_search(answer.namespace_bytes), answer.lsn)

    def _largest_record(self, spec: IndexSpec) -> int:
        """An upper bound for the bytes of a record. If the hits cannot exceed the limit, they are not measured."""
        limits = self._limits
        pairs = sizes.PAIR_BYTES * limits.sparse_terms
        return limits.id_characters + sizes.NUMBER_BYTES * spec.dimension + pairs + limits.metadata_bytes

    async def fetch(self, index: Index, namespace: str, ids: Sequence[str]) -> FetchResult:
        """The records with these ids, in the given order. Unknown ids are left out."""
        name = validation.namespace_name(namespace, self._limits)
        if not ids:
            raise InvalidArgument("The request names no ids")
        self._check_ids(ids, self._limits.fetch_ids)
        distinct = list(dict.fromkeys(ids))
        page = await self._engine.page(index.handle, name, PagePlan(len(distinct), Selection(ids=distinct)))
        by_id = {record.id: record for record in page.records}
        records = [by_id[id] for id in distinct if id in by_id]  # programs rely on the order of their ids
        return FetchResult(records, read_units.of_fetch(len(records)), page.lsn)

    async def fetch_by_metadata(
        self, index: Index, namespace: str, raw_filter: Any, limit: int | None, token: str | None
    ) -> FetchResult:
        """A page of the records that match a filter, in byte order of their ids."""
        name = validation.namespace_name(namespace, self._limits)
        selection = Selection(filter=self._filter(raw_filter, "Fetch"))
        size = pages.limit(limit, FETCH_PAGE, self._limits.fetch_page)
        after = pages.read(token) if token else ""
        page = await self._engine.page(index.handle, name, PagePlan(size, selection, after))
        self._limits.check_answer(sizes.of_records(page.records), "ask for fewer with a smaller limit")
        return FetchResult(page.records, read_units.of_fetch(len(page.records)), page.lsn, _next(page))

    async def page(
        self, index: Index, namespace: str, raw_filter: Any, limit: int | None, token: str | None
    ) -> FetchResult:
        """A page of the records that match a filter, or of all if it is empty, in byte order of their ids."""
        if raw_filter:
            return await self.fetch_by_metadata(index, namespace, raw_filter, limit, token)
        name = validation.namespace_name(namespace, self._limits)
        size = pages.limit(limit, FETCH_PAGE, self._limits.fetch_page)
        page = await self._engine.page(
            index.handle, name, PagePlan(size, Selection(), pages.read(token) if token else "")
        )
        self._limits.check_answer(sizes.of_records(page.records), "ask for fewer with a smaller limit")
        return FetchResult(page.records, read_units.of_fetch(len(page.records)), page.lsn, _next(page))

    async def list(
        self, index: Index, namespace: str, prefix: str | None, limit: int | None, token: str | None
    ) -> FetchResult:
        """A page of ids, in byte order."""
        name = validation.namespace_name(namespace, self._limits)
        if prefix and not prefix.isascii():
            raise InvalidArgument("The prefix must be ASCII, as ids are")
        size = pages.limit(limit, self._limits.list_page, self._limits.list_page)
        after = pages.read(token, prefix) if token else ""
        page = await self._engine.page(
            index.handle, name, PagePlan(size, Selection(), after, prefix or "", ids_only=True)
        )
        return FetchResult(page.records, 1, page.lsn, _next(page, prefix))

    async def update(
        self, index: Index, namespace: str, id: str | None, raw: RawVector, raw_filter: Any, dry_run: bool
    ) -> tuple[int, int]:
        """Change one record by id, or the fields of the records that match a filter. Returns how many, and the LSN.

        An unknown id changes nothing. dry_run: only count the records.
        """
        spec, name = index.spec, validation.namespace_name(namespace, self._limits)
        if (id is None) == (raw_filter is None):
            raise InvalidArgument("An update needs either 'id' or 'filter'")
        if raw_filter is not None and (raw.has_values or raw.sparse is not None):
            raise InvalidArgument("Update by metadata request does not support updating vector values.")
        if id is not None:
            selection = Selection(ids=[validation.record_id(id, "The update", self._limits)])
        else:
            selection = Selection(filter=self._filter(raw_filter, "Update"))
        given = raw.metadata or {}
        if absent := [field for field, value in given.items() if value is None]:
            raise InvalidArgument(
                f"Field '{absent[0]}' is null: an update sets fields and removes none; upsert the record without it"
            )
        has_vector = raw.sparse is not None if spec.sparse else raw.has_values
        if spec.embed is not None and spec.embed.text_field in given and not has_vector:
            raise InvalidArgument(
                f"Field '{spec.embed.text_field}' is what this index embeds: its words would be new, its vector old. "
                "Upsert the record with its new text, or give its new vector in "
                f"'{'sparseValues' if spec.sparse else 'values'}' as well"
            )
        fields, _ = validation.metadata(given, "The update", self._limits.metadata_bytes)
        plan = UpdatePlan(
            selection,
            validation.dense_vector(raw.values, spec) if raw.values is not None and raw.has_values else None,
            None if raw.sparse is None else validation.stored_sparse(*raw.sparse, spec, self._limits.sparse_terms),
            fields or None,
            self._limits.update_records,
            self._limits.metadata_bytes,
        )
        if dry_run:
            return await self._engine.count(index.handle, name, selection), 0
        return await self._engine.update(index.handle, name, plan)

    async def delete(
        self, index: Index, namespace: str, ids: Sequence[str] | None, raw_filter: Any, everything: bool
    ) -> int:
        """Delete records by ids, by filter, or all. Returns the LSN. Raises NotFound if there is no such namespace."""
        name = validation.namespace_name(namespace, self._limits)
        if (bool(ids), raw_filter is not None, everything).count(True) != 1:
            raise InvalidArgument("A delete needs exactly one of 'ids', 'filter' and 'delete_all'")
        if ids:
            self._check_ids(ids, self._limits.delete_ids)
            selection = Selection(ids=list(dict.fromkeys(ids)))
        else:
            selection = Selection() if everything else Selection(filter=self._filter(raw_filter, "Delete"))
        return await self._engine.delete(index.handle, name, selection)

    async def stats(self, index: Index, raw_filter: Any) -> tuple[IndexSpec, Sequence[NamespaceInfo]]:
        """The spec of the index, and its namespaces with their record counts."""
        spec = index.spec
        if raw_filter:
            raise InvalidArgument(
                "Serverless and Starter indexes do not support describing index stats with metadata filtering."
            )
        return spec, await self._engine.every_namespace(index.handle)

    def _check_ids(self, ids: Sequence[str], most: int) -> None:
        if len(ids) > most:
            raise InvalidArgument(f"The request names {len(ids)} ids; at most {most} are allowed")
        for id in ids:
            validation.record_id(id, "The request", self._limits)

    def _filter(self, raw: Any, what: str) -> filters.Condition:
        condition = filters.parse(raw if raw is not None else {}, self._limits.filter_values)
        if condition is None:
            raise InvalidArgument(f"{what} with empty metadata filter is not allowed")
        return condition


def _next(page: Page, prefix: str | None = None) -> str | None:
    return pages.token(page.records[-1].id, prefix) if page.more else None
