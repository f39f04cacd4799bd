"""The indexes service: what indexes there are, where they answer, and what embeds for them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec

from pinyon.auth import permissions
from pinyon.domain import EmbedSpec, Handle, Index, IndexDetails, IndexRef, IndexSpec, RecallSample
from pinyon.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PinyonError,
    Unavailable,
    VersionConflict,
)
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_executor import ModelExecutor
from pinyon.services.control_plane import index_rules
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.control_plane.embedders import Embedders
from pinyon.services.control_plane.readiness import RETRY_AFTER_S, Readiness
from pinyon.settings import IndexSettings
from pinyon.storage.engine import Engine

State = Literal["Ready", "Initializing", "InitializationFailed", "Disabled"]

CONFLICTS = 10
"""How often a change is tried again after somebody else changed the index first."""
T = TypeVar("T")

log = logging.getLogger("pinyon.indexes")


class IndexOptions(msgspec.Struct, frozen=True):
    """The properties of a new index that are not in its spec. None or empty: not given."""

    cloud: str = "aws"
    region: str = "us-east-1"
    deletion_protection: bool = False
    tags: Mapping[str, str] = {}
    schema: Mapping[str, Any] | None = None
    read_capacity: Mapping[str, Any] | None = None


class IndexChange(msgspec.Struct, frozen=True):
    """Changes of an index. None leaves a property as it is. embed: as index_rules.embed_change() takes it."""

    deletion_protection: bool | None = None
    tags: Mapping[str, str] | None = None
    read_capacity: Mapping[str, Any] | None = None
    embed: Mapping[str, Any] | None = None


class Indexes:
    """What there is to know of indexes: the engine's word on what they are, and an embedder for each that embeds."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        executor: ModelExecutor,
        addresses: Addresses,
        readiness: Readiness,
        recall: Callable[[], list[RecallSample]],
    ) -> None:
        """recall: what was measured of approximate answers."""
        self._engine, self._catalog, self.addresses = engine, catalog, addresses
        self._recall = recall
        self.embedders = Embedders(engine, catalog, executor, readiness)
        self._settings_spec: IndexSpec | None = None

    async def open(self, settings: IndexSettings | None) -> None:
        """Know the index that the settings name. Raises InvalidArgument for settings that describe none."""
        if settings is not None:
            self._settings_spec = index_rules.from_settings(settings, self._catalog, self.max_dimension)
            if self._settings_spec.name not in self._engine.being_opened():
                await self.ensure_default()

    async def ensure_default(self) -> None:
        """Make the index that the settings name if it is not there, once it is known what is there.

        Raises FailedPrecondition if it is there and is something else than the settings say.
        """
        wanted = self._settings_spec
        if wanted is None:
            return
        await self._engine.opened(wanted.name)
        there = next((index for index in self.all() if index.name == wanted.name), None)
        if wanted.name in self._engine.unusable():
            log.error("the index of the settings cannot be used; the server goes on with the others")
        elif there is None:
            await self._engine.create_index(wanted, _details(IndexOptions()))
        else:
            check_same(there.spec, wanted)

    async def assign_ports(self) -> None:
        """Give each index that has none an address, once all are open."""
        for index in self.all():
            if index.name != self.default and self.addresses.by_port:
                await self._assign_port(index)

    async def _assign_port(self, index: Index) -> None:
        addresses = self.addresses
        keep = [port for port in addresses.port_range if port != addresses.port]
        try:
            index = await self._engine.assign_port(index.name, addresses.index_ports, keep)
        except PermissionDenied as error:
            log.warning("%s", error.message)
            return
        if index.port not in addresses.index_ports:
            log.warning("index %s cannot be reached: its port %d is taken by another program", index.name, index.port)

    @property
    def max_dimension(self) -> int:
        """The largest dimension of a dense index here."""
        return self._engine.limits.dimension

    @property
    def default(self) -> str | None:
        """The index that answers on the main port: the one the settings describe, while it exists."""
        if self._settings_spec is None:
            return None
        try:
            self._engine.index(self._settings_spec.name)
        except NotFound:
            return None
        except PinyonError:  # it exists: it is being opened, or its file cannot be used
            pass
        return self._settings_spec.name

    def at(self, host: str, port: int | None) -> Index:
        """The index that a request means.

        host: its Host header or :authority. port: where it came in. Raises NotFound, saying what answers where, or
        PermissionDenied for a key of other indexes.
        """
        name = self.addresses.index_named(host)
        by_port = name is None and port is not None and port != self.addresses.port
        if by_port:
            name = next((index.name for index in self._engine.indexes() if index.port == port), None)
        elif name is None:
            name = self.default
        if name is None and by_port and self._engine.being_opened():
            raise Unavailable("Indexes are being opened; one of them may answer here", RETRY_AFTER_S)
        grant = permissions.GRANT.get()
        if grant.indexes is not None and (name is None or not grant.sees(name)):
            # One answer for all that is outside: what is there, and whether anything is, is nobody else's business.
            raise PermissionDenied("This API key is not for what answers here")
        if name is None and by_port:
            broken = "".join(f"; index {one} cannot be used: {why}" for one, why in self.unusable().items())
            raise NotFound(f"No index answers on port {port}; describe an index to learn where it answers{broken}")
        if name is None:
            raise NotFound(
                "No index answers on the main port; describe an index to learn where it answers, or name one for this "
                "port in the [index] table of the settings file"
            )
        return self.index(name)

    def url(self, index: Index, reached_as: str | None = None) -> str:
        """Where the index answers, for a caller that reached this server under that Host header."""
        own_port = None if index.name == self.default else index.port
        return self.addresses.url(index.name, own_port, reached_as)

    def reachable(self, index: Index) -> bool:
        """Whether requests for the index can arrive here."""
        return not self.addresses.by_port or index.name == self.default or index.port in self.addresses.index_ports

    def index(self, index: IndexRef) -> Index:
        """One index, by its name or its handle. Raises NotFound, or PermissionDenied."""
        permissions.check_sees(index)
        return self._engine.index(index)

    def spec(self, index: IndexRef) -> IndexSpec:
        """What the index is. Raises NotFound."""
        return self.index(index).spec

    def all(self) -> list[Index]:
        """Every index that the caller may know of, by name."""
        return [index for index in self._engine.indexes() if permissions.GRANT.get().sees(index.name)]

    async def create(self, spec: IndexSpec, options: IndexOptions) -> Index:
        """Make an empty index, ready at once.

        Raises AlreadyExists, InvalidArgument, NotFound, FailedPrecondition if nobody answers to its model or the
        settings describe something else under its name, or PermissionDenied without a free port.
        """
        permissions.check("control", spec.name)
        if any(index.name == spec.name for index in self._engine.indexes()):
            raise AlreadyExists("Resource already exists.")
        index_rules.place(options.cloud, options.region)
        await asyncio.to_thread(self._check_model, spec)  # weights may be hashed first
        ports = None
        if self._settings_spec is not None and spec.name == self._settings_spec.name:
            check_same(spec, self._settings_spec)
        else:
            self.addresses.check_room()
            ports = self.addresses.index_ports if self.addresses.by_port else None
        try:
            index = await self._engine.create_index(spec, _details(options), ports)
        except AlreadyExists:
            raise AlreadyExists("Resource already exists.") from None
        await self.embedders.load_soon(index)
        return index

    def state(self, index: Index) -> State:
        """Whether an index can answer: by text, if it embeds."""
        if not self.reachable(index):
            return "Disabled"
        if index.spec.embed is None or self.embedders.loaded(index) is not None:
            return "Ready"
        if index.name in self.embedders.failures():
            return "InitializationFailed"
        return "Initializing" if self.embedders.is_loading(index) else "Ready"

    def states(self) -> dict[str, str]:
        """What each index that the caller may know of waits for, by name; 'ready' if for nothing."""
        grant = permissions.GRANT.get()
        if not grant.scopes:
            return {}
        words = {"Ready": "ready", "Initializing": "models are being loaded", "Disabled": "it has no address"}
        failures = self.embedders.failures()
        states = {
            index.name: words.get(self.state(index)) or f"it cannot embed: {failures[index.name]}"
            for index in self.all()
        }
        states |= {name: "it is being opened" for name in self._engine.being_opened() if grant.sees(name)}
        return states | self.unusable()

    def _check_model(self, spec: IndexSpec) -> None:
        """Raises FailedPrecondition if nobody here answers to the model of the index."""
        if spec.embed is not None:
            self._catalog.fingerprint(spec.embed.model, spec.dimension or None)

    def check_controls(self, name: str) -> None:
        """Raises PermissionDenied or NotFound unless the caller may change this index."""
        permissions.check("control", name)
        self.index(name)

    async def configure(self, name: str, change: IndexChange) -> Index:
        """Change what may change of an index. Raises NotFound or InvalidArgument before anything is changed."""
        permissions.check("control", name)
        if change.embed is not None and self._settings_spec is not None and name == self._settings_spec.name:
            raise InvalidArgument(f"The embedding of index {name} is described in the settings file; change it there")

        async def configure() -> Index:
            index = self.index(name)
            changed = await asyncio.to_thread(self._changed, index, change)  # weights may be hashed
            return await self._engine.configure_index(changed)

        index = await _until_no_conflict(configure)
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
            capacity = index_rules.read_capacity(_merged(details.read_capacity or {}, change.read_capacity))
            details = msgspec.structs.replace(details, read_capacity=capacity)
        if change.embed is not None:
            spec = index_rules.embed_change(self._catalog, spec, change.embed)
            if index.spec.embed is None:
                self._check_model(spec)
        return msgspec.structs.replace(index, spec=spec, details=details)

    async def compact(self, name: str) -> tuple[int, int]:
        """Give back the room of what was deleted; bytes on disk before and after. Raises NotFound."""
        permissions.check("control", name)
        return await self._engine.compact(name)

    async def delete(self, name: str) -> None:
        """Delete an index with everything in it. Raises NotFound, or PermissionDenied if it is protected."""
        permissions.check("control", name)

        async def delete() -> Handle | None:
            if name in self._engine.unusable():  # whether it is protected cannot be read
                await self._engine.delete_index(name)
                return None
            index = self.index(name)
            if index.details.deletion_protection:
                raise PermissionDenied(
                    "Deletion protection is enabled for this index. Disable deletion protection before retrying."
                )
            await self._engine.delete_index(index.handle, index.version)
            return index.handle

        handle = await _until_no_conflict(delete)
        self.embedders.forget_index(name, handle)

    async def foreign_vectors(self, index: IndexRef, namespace: str) -> int:
        """How many records of a namespace have vectors that a caller brought; 0 without it. Checks no rights."""
        try:
            return (await self._engine.namespace(index, namespace)).foreign
        except NotFound:
            return 0

    def recall(self) -> list[RecallSample]:
        """How good approximate answers were, as far as some were compared with exact ones."""
        permissions.check("read")
        grant = permissions.GRANT.get()
        return [one for one in self._recall() if grant.sees(one.index) and grant.enters(one.namespace)]

    def unusable(self) -> dict[str, str]:
        """Indexes whose files cannot be used, and why."""
        grant = permissions.GRANT.get()
        found = self._engine.unusable() if grant.scopes else {}
        return {name: error.message for name, error in found.items() if grant.sees(name)}

    def unusable_count(self) -> int:
        """How many indexes cannot be used."""
        return len(self._engine.unusable())

    def set_aside(self) -> list[str]:
        """What a start moved out of the way, for callers who may know of every index."""
        grant = permissions.GRANT.get()
        return self._engine.set_aside() if grant.scopes and grant.indexes is None else []

    def set_aside_count(self) -> int:
        """How many folders there are of what a start moved out of the way."""
        return len(self._engine.set_aside())


async def _until_no_conflict(change: Callable[[], Awaitable[T]]) -> T:
    """Make a change of the newest version; again if somebody else was faster. Raises VersionConflict at the end."""
    for _ in range(CONFLICTS):
        try:
            return await change()
        except VersionConflict as error:
            log.info("%s", error.message)
    return await change()


def _details(options: IndexOptions) -> IndexDetails:
    return IndexDetails(
        created_at=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        cloud=options.cloud,
        region=options.region,
        deletion_protection=options.deletion_protection,
        tags=index_rules.tags({}, options.tags),
        schema=index_rules.metadata_schema(options.schema),
        read_capacity=index_rules.read_capacity(options.read_capacity),
    )


def _merged(there: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables, with what `change` names replaced."""
    merged = dict(there)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def check_same(there: IndexSpec, wanted: IndexSpec) -> None:
    """Raises FailedPrecondition if the index on disk is something else than the settings describe."""
    if there == wanted:
        return
    flat_there, flat_wanted = _flat(there), _flat(wanted)
    differences = ", ".join(
        f"{name} is {flat_there.get(name)} on disk and {flat_wanted[name]} in the settings"
        for name in flat_wanted
        if flat_there.get(name) != flat_wanted[name]
    )
    raise FailedPrecondition(
        f"Index {wanted.name} on disk differs from the settings: {differences}. Change the settings back, give the new "
        "index another name, or, for another model, change them back and run `pinyon reembed`"
    )


def _flat(spec: IndexSpec) -> dict[str, object]:
    embed = spec.embed or EmbedSpec("", "")
    return {
        "metric": spec.metric,
        "dimension": spec.dimension,
        "model": embed.model,
        "field_map.text": embed.text_field,
        **{f"read_parameters.{key}": value for key, value in index_rules.parameters(embed, "read").items()},
        **{f"write_parameters.{key}": value for key, value in index_rules.parameters(embed, "write").items()},
    }
