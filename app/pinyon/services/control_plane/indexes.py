"""The indexes service: makes, changes, restores and deletes indexes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Literal, TypeVar

import msgspec

from pinyon.auth import permissions
from pinyon.concurrency.conflicts import until_no_conflict
from pinyon.concurrency.locks import NamedLocks
from pinyon.domain import Index, IndexRef, IndexSpec
from pinyon.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PinyonError,
)
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_executor import ModelExecutor
from pinyon.services.control_plane import index_rules, mix_rules, settings_rules
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.control_plane.embedders import Embedders
from pinyon.services.control_plane.index_lookup import IndexLookup
from pinyon.services.control_plane.index_rules import IndexOptions
from pinyon.services.control_plane.readiness import Readiness
from pinyon.services.moments import now
from pinyon.settings import IndexSettings
from pinyon.storage.engine import Engine

State = Literal["Ready", "Initializing", "InitializationFailed", "Disabled"]

T = TypeVar("T")

log = logging.getLogger("pinyon.indexes")


class IndexChange(msgspec.Struct, frozen=True):
    """Changes of an index. None leaves a property as it is. embed: as index_rules.embed_change() takes it."""

    deletion_protection: bool | None = None
    tags: Mapping[str, str] | None = None
    read_capacity: Mapping[str, Any] | None = None
    embed: Mapping[str, Any] | None = None


class Indexes(IndexLookup):
    """Every operation on indexes as a whole. embedders: what embeds for each index."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        executor: ModelExecutor,
        addresses: Addresses,
        readiness: Readiness,
        read_only: bool = False,
    ) -> None:
        """read_only: the engine stores nothing."""
        super().__init__(engine, addresses, read_only)
        self._catalog, self._read_only = catalog, read_only
        self._locks = NamedLocks()
        self.embedders = Embedders(engine, catalog, executor, readiness)
        self.after_deletion: list[Callable[[], Awaitable[None]]] = []
        """Called after each deletion of an index. They raise nothing."""

    async def open(self, settings: IndexSettings | None) -> None:
        """Take the index that the settings describe. Raises InvalidArgument if the settings describe no valid index."""
        await self._ports.load()
        if settings is not None:
            self._settings_spec = settings_rules.from_settings(settings, self._catalog, self.max_dimension)
            if self._settings_spec.name not in self._engine.being_opened():
                await self.ensure_default()

    async def ensure_default(self) -> None:
        """Create the index that the settings describe, or change it as they say if it exists.

        Raises FailedPrecondition if it exists and differs from the settings in what cannot be changed.
        """
        wanted = self._settings_spec
        if wanted is None:
            return
        await self._engine.opened(wanted.name)
        existing = next((index for index in self.all() if index.name == wanted.name), None)
        if wanted.name in self._engine.unusable():
            log.error("the index of the settings cannot be used; the server goes on with the others")
        elif existing is None:
            await self._engine.create_index(wanted, index_rules.details(IndexOptions(), now()))
        else:
            await self._follow(existing, wanted)

    async def _follow(self, existing: Index, wanted: IndexSpec) -> None:
        spec = settings_rules.following(existing.spec, wanted)
        if spec == existing.spec:
            return
        if self._read_only:
            settings_rules.check_same(existing.spec, wanted)
        log.info(
            "index %s is changed as the settings say: %s", spec.name, settings_rules.differences(existing.spec, spec)
        )
        await self._engine.configure_index(msgspec.structs.replace(existing, spec=spec))

    async def assign_ports(self) -> None:
        """Give a port to each index that has none, and free those of deleted ones. Call it when all are open."""
        if not self.addresses.by_port:
            return
        for name in self._ports.owners():
            async with self._locks.of(name):
                if not self._exists(name):  # a deletion or a creation was not finished
                    await self._ports.release(name)
        for index in self._engine.indexes():
            async with self._locks.of(index.name):
                if index.name != self.default and self._exists(index.name):
                    await self._ports.assign(index.name)

    async def close(self) -> None:
        """Finish the creations and deletions that run, and stop loading models."""
        await self._locks.all_released()
        await self.embedders.close()

    @property
    def max_dimension(self) -> int:
        """The largest dimension of a dense index here."""
        return self._engine.limits.dimension

    async def create(self, spec: IndexSpec, options: IndexOptions) -> Index:
        """Create an empty index.

        Raises AlreadyExists, InvalidArgument, NotFound, FailedPrecondition if its model cannot answer or if the
        settings describe another index of this name, or PermissionDenied if no port is free.
        """
        permissions.check("control", spec.name)
        self._check_new(spec.name)
        index_rules.place(options.cloud, options.region)
        await asyncio.to_thread(self._check_model, spec)  # weights may be hashed first
        details = index_rules.details(options, now())
        index = await self._change(spec.name, self._make(spec, lambda: self._engine.create_index(spec, details)))
        await self.embedders.load_soon(index)
        return index

    async def restore(self, planned: Index, make: Callable[[], Awaitable[Index]]) -> None:
        """Make an index of a backup. Until it is there, it is shown as it is planned.

        Raises as create(). make: makes it, as a whole or not at all.
        """
        name = planned.name
        permissions.check("control", name)
        self._check_new(name)
        self._restoring[name] = planned
        try:
            index = await self._change(name, self._make(planned.spec, make))
        finally:
            del self._restoring[name]
        await self.embedders.load_soon(index)

    def check_room_for(self, name: str) -> None:
        """Raises AlreadyExists if there is an index of this name, PermissionDenied if no more can be made."""
        self._check_new(name)
        if self._settings_spec is None or name != self._settings_spec.name:
            self.addresses.check_room()

    def _check_new(self, name: str) -> None:
        if self._planned(name) is not None or any(index.name == name for index in self._engine.indexes()):
            raise AlreadyExists("Resource already exists.")

    async def _make(self, spec: IndexSpec, make: Callable[[], Awaitable[Index]]) -> Index:
        """Make an index and give it a port, or do neither."""
        needs_port = False
        if self._settings_spec is not None and spec.name == self._settings_spec.name:
            settings_rules.check_same(spec, self._settings_spec)
        else:
            self.addresses.check_room()
            needs_port = self.addresses.by_port and self._ports.of(spec.name) is None
        if needs_port:
            await self._ports.take(spec.name)
        try:
            return await make()
        except Exception as error:
            if needs_port:
                await self._ports.release(spec.name)
            if isinstance(error, AlreadyExists):
                raise AlreadyExists("Resource already exists.") from None
            raise

    async def _change(self, name: str, change: Coroutine[Any, Any, T]) -> T:
        """Create or delete an index together with its port, to the end even if the caller is cancelled.

        Changes of one name run one at a time, so that no port is freed which the next index of the name has.
        """

        async def in_turn() -> T:
            async with self._locks.of(name):
                return await change

        return await asyncio.shield(asyncio.ensure_future(in_turn()))

    def state(self, index: Index) -> State:
        """Whether an index can answer. An index that embeds text needs its model for that."""
        if self._planned(index.name) is not None:
            return "Initializing"
        if not self.reachable(index):
            return "Disabled"
        if index.spec.embed is None or self.embedders.loaded(index) is not None:
            return "Ready"
        if index.name in self.embedders.failures():
            return "InitializationFailed"
        return "Initializing" if self.embedders.is_loading(index) else "Ready"

    def _check_model(self, spec: IndexSpec) -> None:
        """Raises FailedPrecondition if the model of the index cannot answer here."""
        if spec.embed is not None:
            self._catalog.fingerprint(spec.embed.model, spec.dimension or None, spec.embed.sparse_model)

    def check_controls(self, name: str) -> None:
        """Raises PermissionDenied or NotFound unless the caller may change this index."""
        permissions.check("control", name)
        self.index(name)

    async def configure(self, name: str, change: IndexChange) -> Index:
        """Change an index. Raises NotFound or InvalidArgument before anything is changed."""
        permissions.check("control", name)
        described = self._settings_spec is not None and name == self._settings_spec.name
        if described and change.embed is not None and not mix_rules.only_tunes(change.embed):
            raise InvalidArgument(f"The embedding of index {name} is described in the settings file; change it there")

        async def configure() -> Index:
            index = self.index(name)
            changed = await asyncio.to_thread(self._changed, index, change)  # weights may be hashed
            return await self._engine.configure_index(changed)

        index = await until_no_conflict(configure)
        await self.embedders.load_soon(index)
        return index

    def _changed(self, index: Index, change: IndexChange) -> Index:
        """The index after the change. Raises InvalidArgument or FailedPrecondition."""
        details, spec = index.details, index.spec
        if change.deletion_protection is not None:
            details = msgspec.structs.replace(details, deletion_protection=change.deletion_protection)
        if change.tags is not None:
            details = msgspec.structs.replace(details, tags=index_rules.tags(details.tags, change.tags))
        if change.read_capacity is not None:
            capacity = index_rules.read_capacity(index_rules.merged(details.read_capacity or {}, change.read_capacity))
            details = msgspec.structs.replace(details, read_capacity=capacity)
        if change.embed is not None:
            spec = index_rules.embed_change(self._catalog, spec, change.embed)
            if index.spec.embed is None:
                self._check_model(spec)
            if self._settings_spec is not None and spec.name == self._settings_spec.name:
                self._check_fits_settings(spec, self._settings_spec)
        return msgspec.structs.replace(index, spec=spec, details=details)

    def _check_fits_settings(self, spec: IndexSpec, wanted: IndexSpec) -> None:
        """Raises InvalidArgument if the next start would refuse an index like this."""
        try:
            settings_rules.check_same(spec, wanted)
        except FailedPrecondition:
            raise InvalidArgument(
                f"The settings file names the mix or the calibration of index {spec.name}, which then cannot be "
                "changed; leave them out there, start the server again, and try again"
            ) from None

    async def compact(self, name: str) -> tuple[int, int]:
        """Free the disk space of deleted records. Returns the bytes on disk before and after. Raises NotFound."""
        permissions.check("control", name)
        return await self._engine.compact(name)

    async def delete(self, name: str) -> None:
        """Delete an index with all its records. Raises NotFound, or PermissionDenied if it is protected."""
        permissions.check("control", name)

        async def delete() -> None:
            try:
                index = self.index(name)  # also of an index that was damaged after it was opened
            except PinyonError:
                if name not in self._engine.unusable():
                    raise
                await self._engine.delete_index(name)  # whether it is protected cannot be read
                return
            if index.details.deletion_protection:
                raise PermissionDenied(
                    "Deletion protection is enabled for this index. Disable deletion protection before retrying."
                )
            await self._engine.delete_index(index.handle, index.version)

        async def delete_with_port() -> None:
            await until_no_conflict(delete)
            await self._ports.release(name)

        await self._change(name, delete_with_port())
        self.embedders.forget_deleted()
        for call in self.after_deletion:
            await call()

    async def foreign_vectors(self, index: IndexRef, namespace: str) -> int:
        """How many records of a namespace have vectors that a caller brought. 0 if it does not exist.

        Does not check the rights of the API key.
        """
        try:
            return (await self._engine.namespace(index, namespace)).foreign
        except NotFound:
            return 0
