"""The indexes service: what indexes there are, where they answer, and what embeds for them."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from app.domain import EmbedSpec, Fingerprint, Index, IndexDetails, IndexSpec
from app.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from app.inference.backend import Embedder, SparseEmbedder, TextEncoder
from app.inference.batcher import Batcher
from app.inference.catalog import Catalog
from app.services import index_rules
from app.services.addresses import Addresses
from app.settings import IndexSettings
from app.storage.engine import Engine

T = TypeVar("T")

log = logging.getLogger("pinyon.indexes")


class Wish(msgspec.Struct, frozen=True):
    """What a caller says of a new index besides what it is; None or empty where nothing was said."""

    cloud: str = "aws"
    region: str = "us-east-1"
    deletion_protection: bool = False
    tags: Mapping[str, str] = {}
    schema: Mapping[str, Any] | None = None
    read_capacity: Mapping[str, Any] | None = None


class Change(msgspec.Struct, frozen=True):
    """What a caller wants to be different; None stays as it is. embed: as index_rules.embed_change() takes it."""

    deletion_protection: bool | None = None
    tags: Mapping[str, str] | None = None
    read_capacity: Mapping[str, Any] | None = None
    embed: Mapping[str, Any] | None = None


class Indexes:
    """Indexes by name, each with its embedder once that is loaded."""

    def __init__(self, engine: Engine, catalog: Catalog, batcher: Batcher, addresses: Addresses) -> None:
        self._engine, self._catalog, self._batcher, self.addresses = engine, catalog, batcher, addresses
        self._indexes: dict[str, Index] = {}
        self._by_port: dict[int, str] = {}
        self._embedders: dict[str, Embedder | SparseEmbedder] = {}
        self._without: dict[str, str] = {}
        self._in_settings: str | None = None

    async def open(self, settings: IndexSettings | None) -> None:
        """Read the indexes on disk, give each an address, and make the one the settings name if it is not there.

        Raises FailedPrecondition if it is there and is something else than the settings say.
        """
        there = {index.name: index for index in await self._engine.indexes()}
        if settings is not None:
            wanted = index_rules.from_settings(settings, self._catalog)
            self._in_settings = wanted.name
            if wanted.name not in there:
                there[wanted.name] = await self._engine.create_index(wanted, _details(Wish()))
            else:
                check_same(there[wanted.name].spec, wanted)
        for index in there.values():
            if index.name != self._in_settings and self.addresses.by_port:
                index = await self._with_port(index)
            self._keep(index)

    async def _with_port(self, index: Index) -> Index:
        addresses = self.addresses
        try:
            index = await self._engine.assign_port(index.name, addresses.index_ports, addresses.port_range)
        except PermissionDenied as error:
            log.warning("%s", error.message)
            return index
        if index.port not in addresses.index_ports:
            log.warning("index %s cannot be reached: its port %d is taken by another program", index.name, index.port)
        return index

    def _keep(self, index: Index) -> None:
        self._indexes[index.name] = index
        if index.port is not None:
            self._by_port[index.port] = index.name

    async def load_embedders(self) -> None:
        """Load what embeds for each index; an index whose model cannot answer stays open for vectors and ids."""
        for index in list(self._indexes.values()):
            await self._load_embedder(index.spec)

    async def _load_embedder(self, spec: IndexSpec) -> None:
        self._embedders.pop(spec.name, None)
        self._without.pop(spec.name, None)
        if spec.embed is None:
            return
        try:
            printed = await self._engine.fingerprint(spec.name)
            self._embedders[spec.name] = await self._batcher.run(self._embedder, spec, spec.embed, printed)
        except (FailedPrecondition, NotFound, InvalidArgument) as error:
            self._without[spec.name] = error.message

    def _embedder(self, spec: IndexSpec, embed: EmbedSpec, printed: Fingerprint | None) -> Embedder | SparseEmbedder:
        printed = printed or self._catalog.fingerprint(embed.model, spec.dimension or None)
        return self._catalog.sparse_embedder(printed) if spec.sparse else self._catalog.embedder(printed)

    @property
    def default(self) -> str | None:
        """The index that answers on the main port: the one the settings describe, while it exists."""
        return self._in_settings if self._in_settings in self._indexes else None

    def at(self, host: str, port: int | None) -> str:
        """The index that a request means. host: its Host header or :authority. port: where it came in.

        Raises NotFound, saying what answers where.
        """
        named = self.addresses.index_named(host)
        if named is None and port is not None and port != self.addresses.port:
            named = self._by_port.get(port)
            if named is None:
                raise NotFound(f"No index answers on port {port}; describe an index to learn where it answers")
        if named is None:
            named = self.default
        if named is None:
            raise NotFound(
                "No index answers on the main port; describe an index to learn where it answers, or name one for this "
                "port in the [index] table of the settings file"
            )
        self.spec(named)
        return named

    def url(self, index: Index, reached_as: str | None = None) -> str:
        """Where the index answers, for a caller that reached this server under that Host header."""
        own_port = None if index.name == self.default else index.port
        return self.addresses.url(index.name, own_port, reached_as)

    def reachable(self, index: Index) -> bool:
        """Whether requests for the index can arrive here."""
        return not self.addresses.by_port or index.name == self.default or index.port in self.addresses.index_ports

    def index(self, name: str) -> Index:
        """One index. Raises NotFound."""
        if name not in self._indexes:
            raise NotFound(f"Index {name} not found.")
        return self._indexes[name]

    def spec(self, name: str) -> IndexSpec:
        """What the index is. Raises NotFound."""
        return self.index(name).spec

    def all(self) -> list[Index]:
        """Every index, by name."""
        return [self._indexes[name] for name in sorted(self._indexes)]

    async def create(self, spec: IndexSpec, wish: Wish) -> Index:
        """Make an empty index, ready at once, also where its model cannot answer yet: that shows when text comes.

        Raises AlreadyExists, InvalidArgument, NotFound, FailedPrecondition, or PermissionDenied without a free port.
        """
        if spec.name in self._indexes:
            raise AlreadyExists("Resource already exists.")
        index_rules.place(wish.cloud, wish.region)
        if spec.embed is not None:
            self._catalog.fingerprint(spec.embed.model, spec.dimension or None)  # raises if nobody can answer
        ports = None
        if spec.name != self._in_settings:
            self.addresses.check_room()
            ports = self.addresses.index_ports if self.addresses.by_port else None
        return await _finished(self._create(spec, _details(wish), ports))

    async def _create(self, spec: IndexSpec, details: IndexDetails, ports: Any) -> Index:
        try:
            index = await self._engine.create_index(spec, details, ports)
        except AlreadyExists:
            raise AlreadyExists("Resource already exists.") from None
        await self._load_embedder(spec)
        self._keep(index)
        return index

    async def configure(self, name: str, change: Change) -> Index:
        """Change what may change of an index. Raises NotFound or InvalidArgument before anything is changed."""
        self.index(name)
        if change.embed is not None and name == self._in_settings:
            raise InvalidArgument(f"The embedding of index {name} is described in the settings file; change it there")

        def changed(index: Index) -> Index:
            details = index.details
            if change.deletion_protection is not None:
                details = msgspec.structs.replace(details, deletion_protection=change.deletion_protection)
            if change.tags is not None:
                details = msgspec.structs.replace(details, tags=index_rules.tags(details.tags, change.tags))
            if change.read_capacity is not None:
                capacity = index_rules.read_capacity(_merged(details.read_capacity or {}, change.read_capacity))
                details = msgspec.structs.replace(details, read_capacity=capacity)
            spec = index.spec
            if change.embed is not None:
                spec = index_rules.embed_change(self._catalog, spec, change.embed)
            return msgspec.structs.replace(index, spec=spec, details=details)

        return await _finished(self._configure(name, changed, change.embed is not None))

    async def _configure(self, name: str, changed: Any, embedding: bool) -> Index:
        index = await self._engine.configure_index(name, changed)
        if embedding:
            await self._load_embedder(index.spec)
        self._keep(index)
        return index

    async def delete(self, name: str) -> None:
        """Delete an index with everything in it. Raises NotFound, or PermissionDenied if it is protected."""
        if self.index(name).details.deletion_protection:
            raise PermissionDenied(
                "Deletion protection is enabled for this index. Disable deletion protection before retrying."
            )
        await _finished(self._delete(name))

    async def _delete(self, name: str) -> None:
        index = self._indexes.pop(name)
        if index.port is not None:
            self._by_port.pop(index.port, None)
        self._embedders.pop(name, None)
        self._without.pop(name, None)
        await self._engine.delete_index(name)

    def embedder(self, spec: IndexSpec) -> Embedder | SparseEmbedder:
        """What embeds for the index.

        Raises InvalidArgument if it has no integrated embedding, FailedPrecondition if its model cannot answer.
        """
        if spec.embed is None:
            raise InvalidArgument("Integrated inference is not configured for this index")
        if spec.name not in self._embedders:
            raise FailedPrecondition(self._without.get(spec.name, f"The model of index {spec.name} is not loaded"))
        return self._embedders[spec.name]

    def available_embedder(self, spec: IndexSpec) -> Embedder | SparseEmbedder | None:
        """As embedder(), or None where that would raise."""
        return self._embedders.get(spec.name)

    def encoder(self, spec: IndexSpec) -> TextEncoder | None:
        """The weights that embed for the index, if it has dense embedding that can answer."""
        embedder = self._embedders.get(spec.name)
        return None if embedder is None or spec.sparse else embedder.encoder  # type: ignore[union-attr]

    def trouble(self) -> dict[str, str]:
        """Indexes that cannot embed, and why."""
        return dict(self._without)


async def _finished(change: Coroutine[Any, Any, T]) -> T:
    """The change, finished even if whoever asked for it goes away meanwhile."""
    return await asyncio.shield(asyncio.ensure_future(change))


def _details(wish: Wish) -> IndexDetails:
    return IndexDetails(
        created_at=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        cloud=wish.cloud,
        region=wish.region,
        deletion_protection=wish.deletion_protection,
        tags=index_rules.tags({}, wish.tags),
        schema=index_rules.metadata_schema(wish.schema),
        read_capacity=index_rules.read_capacity(wish.read_capacity),
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
        f"{name} is {flat_there[name]} on disk and {flat_wanted[name]} in the settings"
        for name in flat_wanted
        if flat_there[name] != flat_wanted[name]
    )
    raise FailedPrecondition(
        f"Index {wanted.name} on disk differs from the settings: {differences}. Change the settings back, or give the "
        "new index another name"
    )


def _flat(spec: IndexSpec) -> dict[str, object]:
    embed = spec.embed or EmbedSpec("", "")
    return {
        "metric": spec.metric,
        "dimension": spec.dimension,
        "model": embed.model,
        "field_map.text": embed.text_field,
        "read_parameters.truncate": embed.read_truncate,
        "write_parameters.truncate": embed.write_truncate,
    }
