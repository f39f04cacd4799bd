"""Finds the index that a request is for, and says where an index answers."""

from pinyon.auth import permissions
from pinyon.domain import Index, IndexRef, IndexSpec, name_of
from pinyon.errors import NotFound, PermissionDenied, PinyonError, Unavailable
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.control_plane.ports import Ports
from pinyon.services.control_plane.readiness import RETRY_AFTER_S
from pinyon.storage.engine import Engine


class IndexLookup:
    """Looks up indexes; a key sees those in its scope. Who makes and restores indexes fills _settings_spec, _restoring.

    _settings_spec: what the settings describe. _restoring: by name, indexes that are being restored: what they will be.
    restored_elsewhere: the same for those that other processes restore. It may be a little behind.
    """

    def __init__(self, engine: Engine, addresses: Addresses, read_only: bool) -> None:
        """read_only: the engine stores nothing."""
        self._engine, self.addresses = engine, addresses
        self._ports = Ports(engine, addresses, read_only)
        self._settings_spec: IndexSpec | None = None
        self._restoring: dict[str, Index] = {}
        self.restored_elsewhere: dict[str, Index] = {}

    @property
    def default(self) -> str | None:
        """The name of the index that answers on the main port: the one of the settings, if it exists."""
        spec = self._settings_spec
        return spec.name if spec is not None and self._exists(spec.name) else None

    def _exists(self, name: str) -> bool:
        """Whether there is an index of this name, even if it is being opened or restored, or cannot be used."""
        if self._planned(name) is not None:
            return True
        try:
            self._engine.index(name)
        except NotFound:
            return False
        except PinyonError:
            pass
        return True

    def _planned(self, name: str) -> Index | None:
        """What an index that is being restored will be. None if none of this name is, or if it is there by now."""
        planned = self._restoring.get(name) or self.restored_elsewhere.get(name)
        if planned is None:
            return None
        try:
            self._engine.index(name)
        except PinyonError:
            return planned
        return None

    def at(self, host: str, port: int | None) -> Index:
        """The index that a request is for. host: its Host header or :authority. port: the port it arrived on.

        Raises NotFound, or PermissionDenied if the API key is for other indexes.
        """
        name = self.addresses.index_named(host)
        by_port = name is None and port is not None and port != self.addresses.port
        if by_port:
            name = self._answering_on(port)
        elif name is None:
            name = self.default
        if name is None and by_port and self._engine.being_opened():
            raise Unavailable("Indexes are being opened; one of them may answer here", RETRY_AFTER_S)
        grant = permissions.GRANT.get()
        if grant.indexes is not None and (name is None or not grant.allows_index(name)):
            # The same answer for existing and missing indexes: a key sees nothing outside its scope.
            raise PermissionDenied("This API key is not for what answers here")
        if name is None and by_port:
            broken = "".join(f"; index {index} cannot be used: {why}" for index, why in self.unusable().items())
            raise NotFound(f"No index answers on port {port}; describe an index to learn where it answers{broken}")
        if name is None:
            raise NotFound(
                "No index answers on the main port; describe an index to learn where it answers, or name one for this "
                "port in the [index] table of the settings file"
            )
        return self.index(name)

    async def find(self, host: str, port: int | None) -> Index:
        """As at(), but also an index that another process has just made."""
        try:
            return self.at(host, port)
        except NotFound:
            await self.know(self.addresses.index_named(host) or "")
            return self.at(host, port)

    async def know(self, name: str) -> None:
        """See to it that this process knows the index of a name, even if another process has just made it."""
        try:
            self._engine.index(name)
        except NotFound:
            await self._engine.opened(name)
        except PinyonError:  # it is known that it cannot be used
            pass

    def _answering_on(self, port: int | None) -> str | None:
        """The name of the index that has this port. None if there is none, or if it cannot be used."""
        name = None if port is None else self._ports.index_at(port)
        if name is not None:
            try:
                self._engine.index(name)
            except Unavailable:  # it is being opened
                pass
            except PinyonError:
                return None
        return name

    def url(self, index: Index, reached_as: str | None = None) -> str:
        """The URL of an index. reached_as: the Host header of the current request."""
        own_port = None if index.name == self.default else self._ports.of(index.name)
        return self.addresses.url(index.name, own_port, reached_as)

    def reachable(self, index: Index) -> bool:
        """Whether requests for the index can reach this server."""
        if not self.addresses.by_port or index.name == self.default:
            return True
        return self._ports.of(index.name) in self.addresses.index_ports

    def index(self, index: IndexRef) -> Index:
        """One index. Raises NotFound, or PermissionDenied if the API key is for other indexes."""
        permissions.check_index(index)
        if self._planned(name_of(index)) is not None:
            raise Unavailable(f"Index {name_of(index)} is being restored from a backup", RETRY_AFTER_S)
        return self._engine.index(index)

    def shown(self, name: str) -> Index:
        """As index(), but also an index that is being restored: what it will be."""
        permissions.check_index(name)
        return self._planned(name) or self._engine.index(name)

    def spec(self, index: IndexRef) -> IndexSpec:
        """The spec of an index. Raises as index()."""
        return self.index(index).spec

    def all(self) -> list[Index]:
        """All indexes that the API key may see, sorted by name."""
        names = {**self.restored_elsewhere, **self._restoring}
        planned = [index for name in names if (index := self._planned(name)) is not None]
        indexes = sorted([*self._engine.indexes(), *planned], key=lambda index: index.name)
        return [index for index in indexes if permissions.GRANT.get().allows_index(index.name)]

    def unusable(self) -> dict[str, str]:
        """Indexes whose files cannot be used, and why, as far as the API key may see them."""
        grant = permissions.GRANT.get()
        errors = self._engine.unusable() if grant.scopes else {}
        return {name: error.message for name, error in errors.items() if grant.allows_index(name)}
