"""The embedders of indexes: one for each index that embeds text, loaded once."""

import asyncio
import contextvars
import logging
from collections import Counter
from typing import Any

from pinyon.domain import EmbedSpec, Fingerprint, Handle, Index, IndexSpec
from pinyon.errors import InvalidArgument, NotFound, PinyonError, Unavailable
from pinyon.inference.backend import Embedder, SparseEmbedder, TextEncoder
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_executor import ModelExecutor
from pinyon.services.control_plane.readiness import LOADING, RETRY_AFTER_S, Readiness
from pinyon.storage.engine import Engine

LOAD_WAIT_S = 2.0
"""The response to a new index waits so many seconds for its model. Most models are loaded by then."""

log = logging.getLogger("pinyon.indexes")


class Embedders:
    """Loads and remembers what embeds for each index. Use it from the event-loop thread only."""

    def __init__(self, engine: Engine, catalog: Catalog, executor: ModelExecutor, readiness: Readiness) -> None:
        self._engine, self._catalog, self._executor, self._readiness = engine, catalog, executor, readiness
        self._loading: dict[Handle, asyncio.Task[None]] = {}
        self._embedders: dict[Handle, Embedder | SparseEmbedder] = {}
        self._failures: dict[Handle, str] = {}
        self._switches = Counter[Handle]()  # how often the model of an index has changed

    async def get(self, index: Index) -> Embedder | SparseEmbedder:
        """The embedder of an index. It is loaded on the first call.

        Raises InvalidArgument if the index has no integrated embedding, FailedPrecondition if its model cannot answer,
        Unavailable while the server starts and loads models.
        """
        embedder = self._embedders.get(index.handle)
        if embedder is not None:
            return embedder
        if index.spec.embed is not None and self._readiness.loading:
            raise Unavailable(LOADING, RETRY_AFTER_S)
        return await self._load(index.handle)

    async def encoder(self, index: Index) -> TextEncoder | None:
        """The weights that embed for an index. None if it has no dense embedding. Raises as get()."""
        if index.spec.embed is None or index.spec.sparse:
            return None
        embedder: Any = await self.get(index)
        encoder: TextEncoder = embedder.encoder
        return encoder

    def loaded(self, index: Index) -> Embedder | SparseEmbedder | None:
        """The embedder of an index, if it is loaded."""
        return self._embedders.get(index.handle)

    def is_loading(self, index: Index) -> bool:
        """Whether the embedder of an index is being loaded."""
        return index.handle in self._loading or self._readiness.loading

    def failures(self) -> dict[str, str]:
        """By name, the indexes whose embedder could not be loaded, and why."""
        return {handle.name: failure for handle, failure in self._failures.items() if self._exists(handle)}

    def _exists(self, index: Handle) -> bool:
        """Whether an index is still there: another process may have deleted it, and made another of its name."""
        try:
            self._engine.index(index)
        except NotFound:
            return False
        except PinyonError:
            pass
        return True

    def forget(self, index: Handle) -> None:
        """Load the embedder again when it is needed: the index was re-embedded by another model."""
        self._embedders.pop(index, None)
        self._switches[index] += 1

    def forget_deleted(self) -> None:
        """Drop everything about indexes that were deleted."""
        for of_indexes in (self._embedders, self._switches, self._failures):
            for index in [index for index in of_indexes if not self._exists(index)]:
                del of_indexes[index]

    async def load_all(self) -> None:
        """Load the embedder of every index. An index whose model cannot answer still takes vectors and ids."""

        def is_missing(index: Index) -> bool:
            known = index.handle in self._embedders or index.handle in self._failures
            return index.spec.embed is not None and not known

        while missing := [index for index in self._engine.indexes() if is_missing(index)]:  # others may be created
            try:
                await self._load(missing[0].handle)
            except NotFound:  # it was deleted
                continue
            except PinyonError as error:  # the other indexes are not affected
                self._failures[missing[0].handle] = error.message

    async def load_again(self, weights: str) -> list[str]:
        """Load what embeds for each index again, where nothing is embedded yet: its precision has changed.

        weights: the model whose precision has changed, by name. Returns the names of the indexes that keep the old one,
        because it embedded their records.
        """
        keeping = []
        for index in self._engine.indexes():
            before, embed = self._embedders.get(index.handle), index.spec.embed
            if before is None or embed is None or before.fingerprint.weights != weights:
                continue
            try:
                if before.fingerprint == self._new_fingerprint(index.spec, embed):
                    continue
                if await self._engine.fingerprint(index.handle) is None:
                    self.forget(index.handle)
                    await self._load(index.handle)
                else:
                    keeping.append(index.name)
            except NotFound:  # it was deleted
                continue
            except PinyonError as error:  # the other indexes are not affected
                log.error("index %s cannot embed: %s", index.name, error.message)
        return keeping

    async def load_soon(self, index: Index) -> None:
        """Start to load the embedder of an index if it has none yet, and wait for it a short time."""
        if index.handle in self._embedders or index.spec.embed is None:
            return
        if self._readiness.loading:  # load_all() will load it
            return
        # In a context of its own, so that it does not have the rights of the caller's API key.
        task = asyncio.create_task(self._load_in_background(index), context=contextvars.Context())
        self._loading[index.handle] = task
        await asyncio.wait([task], timeout=LOAD_WAIT_S)

    async def close(self) -> None:
        """Stop waiting for models."""
        for task in list(self._loading.values()):
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)

    async def _load_in_background(self, index: Index) -> None:
        try:
            await self._load(index.handle)
        except NotFound:  # it was deleted
            pass
        except PinyonError as error:
            self._failures[index.handle] = error.message
            log.error("index %s cannot embed: %s", index.name, error.message)
        finally:
            self._loading.pop(index.handle, None)

    async def _load(self, index: Handle) -> Embedder | SparseEmbedder:
        embedder = switches = None
        while embedder is None or self._switches[index] != switches:  # the model has changed while it was loaded
            spec, switches = self._engine.index(index).spec, self._switches[index]
            if spec.embed is None:
                raise InvalidArgument("Integrated inference is not configured for this index")
            fingerprint = await self._engine.fingerprint(index)
            embedder = await self._executor.run(self._load_weights, spec, spec.embed, fingerprint)
        self._engine.index(index)  # raises NotFound if the index was deleted while the model was loaded
        self._embedders[index] = embedder
        self._failures.pop(index, None)
        return embedder

    def _load_weights(
        self, spec: IndexSpec, embed: EmbedSpec, fingerprint: Fingerprint | None
    ) -> Embedder | SparseEmbedder:
        """On the model thread. fingerprint: what embedded the records; None if there are none yet."""
        fingerprint = fingerprint or self._new_fingerprint(spec, embed)
        return self._catalog.sparse_embedder(fingerprint) if spec.sparse else self._catalog.embedder(fingerprint)

    def _new_fingerprint(self, spec: IndexSpec, embed: EmbedSpec) -> Fingerprint:
        """What would embed for the index if it were empty."""
        return self._catalog.fingerprint(embed.model, spec.dimension or None, embed.sparse_model)
