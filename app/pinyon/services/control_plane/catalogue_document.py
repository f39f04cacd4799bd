"""Values of services in the catalogue, which every process reads and changes."""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from pinyon import decoding
from pinyon.concurrency.conflicts import until_no_conflict
from pinyon.domain import CatalogueValue
from pinyon.storage.engine import Engine

T = TypeVar("T")

log = logging.getLogger("pinyon.catalogue")


class CatalogueDocument(Generic[T]):
    """A value as JSON. type: its type. empty: what it is before anything is stored, or if it cannot be read."""

    def __init__(self, engine: Engine, key: str, type: type[T], empty: T) -> None:
        self._engine, self._key, self._type, self._empty = engine, key, type, empty

    async def read(self) -> T:
        """The newest value."""
        return self._decoded(await self._stored())

    async def change(self, change: Callable[[T], T]) -> T:
        """Replace the value by what `change` makes of it. Returns that.

        It is called again if another process was faster. What it raises is raised, and then nothing is changed.
        """

        async def store() -> T:
            stored = await self._stored()
            before = self._decoded(stored)
            after = change(before)
            if after != before:
                text = msgspec.json.encode(after).decode()
                await self._engine.put_catalogue_value(self._key, text, stored.version)
            return after

        return await until_no_conflict(store)

    async def _stored(self) -> CatalogueValue:
        return (await self._engine.catalogue_values()).get(self._key, CatalogueValue("", 0))

    def _decoded(self, stored: CatalogueValue) -> T:
        if not stored.version:
            return self._empty
        try:
            return decoding.decode(stored.text, self._type)
        except msgspec.MsgspecError as error:
            log.error("the value %s of the catalogue cannot be read, so it counts as empty: %s", self._key, error)
            return self._empty
