"""Embedding an index anew by another model, from the texts it holds, while it goes on answering."""

import asyncio
import contextvars
import logging
from uuid import uuid4

import msgspec

from pinyon.auth import permissions
from pinyon.domain import Fingerprint, Handle, IndexSpec, Reembedding
from pinyon.errors import FailedPrecondition, InvalidArgument, NotFound, PinyonError, Unavailable
from pinyon.inference.backend import Embedder
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_executor import ModelExecutor
from pinyon.locks import NamedLocks
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.inference.embedded_text import dense_vectors
from pinyon.services.inference.inference import Inference
from pinyon.storage.engine import Engine

log = logging.getLogger("pinyon.reembedding")

AT_ONCE = 32
"""Texts between two looks at what is left: what is lost by a crash, and how long a query waits at most."""


LEASE_S = 120.0
"""How long this process alone may embed an index anew, counted from its last batch. Then another may take over."""
RETRY_S = 5.0
"""How long to wait while another process has the lease."""


class Progress(msgspec.Struct, frozen=True):
    """running: whether it goes on. failed: why it stopped, if it did. model: of the target."""

    running: bool
    model: str | None = None
    done: int = 0
    total: int = 0
    failed: str | None = None


class Reembeddings:
    """Every index on its way to another embedding. What was begun goes on when the service starts again."""

    def __init__(
        self, engine: Engine, indexes: Indexes, catalog: Catalog, inference: Inference, executor: ModelExecutor
    ) -> None:
        self._engine, self._indexes, self._catalog = engine, indexes, catalog
        self._inference, self._executor = inference, executor
        self._tasks: dict[Handle, asyncio.Task[None]] = {}
        self._failed: dict[Handle, str] = {}
        self._owner = uuid4().hex
        self._changing = NamedLocks()

    async def resume(self) -> None:
        """Go on with whatever an earlier process had begun."""
        for index in self._indexes.all():
            try:
                if await self._engine.reembedding(index.handle) is not None:
                    self._go_on(index.handle)
            except PinyonError as error:  # it is this index's trouble alone
                log.error("embedding index %s anew cannot go on: %s", index.name, error.message)

    async def start(self, name: str, model: str, dimension: int | None = None) -> Progress:
        """Begin, or go on with the same. Returns at once.

        Raises NotFound for an unknown index or model, InvalidArgument where the model does not fit the index,
        FailedPrecondition if it cannot answer here, or a record has no text.
        """
        permissions.check("control", name)
        index = self._indexes.index(name)
        target, printed = await self._executor.run(self._target, index.spec, model, dimension)
        same = await self._engine.fingerprint(index.handle) == printed
        if same and await self._engine.reembedding(name) is None and not await self._has_foreign(index.handle):
            raise FailedPrecondition(f"Index {name} is embedded by this very model already")
        async with self._changing.of(name):
            await self._stop(index.handle)
            await self._engine.begin_reembedding(index.handle, target, printed)
            self._go_on(index.handle)
        return await self.progress(name)

    async def _has_foreign(self, handle: Handle) -> bool:
        """Whether callers brought vectors: then to embed the index anew by the same model makes all of one kind."""
        return any(namespace.foreign for namespace in await self._engine.every_namespace(handle))

    def _target(self, spec: IndexSpec, model: str, dimension: int | None) -> tuple[IndexSpec, Fingerprint]:
        """What the index will be, and by what. Loads nothing, but hashes weights."""
        if spec.embed is None:
            raise InvalidArgument(f"Index {spec.name} has no integrated embedding; its vectors are yours")
        if spec.sparse:
            raise InvalidArgument(f"Index {spec.name} is sparse; only dense indexes can be embedded anew")
        entry = self._catalog.entry(model, "embed")
        if spec.metric not in entry.metrics:
            allowed = ", ".join(entry.metrics)
            raise InvalidArgument(f"Model '{model}' has the metrics {allowed}; index {spec.name} has {spec.metric}")
        printed = self._catalog.fingerprint(model, dimension)
        embed = msgspec.structs.replace(spec.embed, model=model, read_max_tokens=None, write_max_tokens=None)
        if embed.read_truncate not in entry.truncations:
            embed = msgspec.structs.replace(embed, read_truncate=entry.truncate)
        if embed.write_truncate not in entry.truncations:
            embed = msgspec.structs.replace(embed, write_truncate=entry.truncate)
        return msgspec.structs.replace(spec, dimension=printed.dimension, embed=embed), printed

    async def progress(self, name: str) -> Progress:
        """How far it is; not running and nothing done where there is nothing to do. Raises NotFound."""
        permissions.check_whole(name)  # it counts the records of every namespace
        handle = self._indexes.index(name).handle
        held = await self._engine.reembedding(handle)
        failed = self._failed.get(handle)
        if held is None:
            return Progress(False, failed=failed)
        task = self._tasks.get(handle)
        running = task is not None and not task.done()
        model = held.target.embed.model if held.target.embed else None
        return Progress(running, model, held.done, held.total, failed)

    async def cancel(self, name: str) -> None:
        """Stop it and drop what was made; the index stays as it is.

        Raises NotFound, or FailedPrecondition if it was finished before it could be stopped.
        """
        permissions.check("control", name)
        handle = self._indexes.index(name).handle
        async with self._changing.of(name):
            held = await self._engine.reembedding(handle)
            await self._stop(handle)
            await self._engine.cancel_reembedding(handle)
            if held is not None and await self._engine.fingerprint(handle) == held.fingerprint:
                self._indexes.embedders.forget(handle)
                raise FailedPrecondition(f"Index {name} was switched over before it could be stopped")
            self._failed[handle] = "it was cancelled"

    async def close(self) -> None:
        """Stop everything; it goes on at the next start."""
        for handle in list(self._tasks):
            await self._stop(handle)

    def _go_on(self, handle: Handle) -> None:
        self._failed.pop(handle, None)
        # Not in the caller's context: it goes on with rights of its own.
        self._tasks[handle] = asyncio.create_task(self._run(handle), context=contextvars.Context())

    async def _stop(self, handle: Handle) -> None:
        task = self._tasks.pop(handle, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._engine.release_reembedding(handle, self._owner)

    async def _run(self, handle: Handle) -> None:
        name = handle.name
        try:
            weights = await self._embed_all(handle)
            if weights is not None:
                log.info("index %s is embedded by %s now", name, weights)
        except NotFound:  # the index was deleted
            return
        except PinyonError as error:
            self._failed[handle] = error.message
            log.error("embedding index %s anew stopped: %s", name, error.message)
        except Exception as error:
            self._failed[handle] = f"a defect of Pinyon's own ({type(error).__name__}); the log has the details"
            log.exception("embedding index %s anew stopped", name)

    async def _embed_all(self, handle: Handle) -> str | None:
        """Embed every text, and switch over. Returns the weights that did it; None if there was nothing to do."""
        state: Reembedding | None = None
        embedder: Embedder | None = None
        while True:
            try:
                if not await self._engine.lease_reembedding(handle, self._owner, LEASE_S):
                    state = embedder = None
                    await asyncio.sleep(RETRY_S)
                    continue
                state = state or await self._engine.reembedding(handle)
                if state is None:  # another owner has finished it
                    return None
                if embedder is None:
                    embedder = await self._executor.run(self._catalog.embedder, state.fingerprint)
                if await self._embed_some(handle, embedder, state):
                    return state.fingerprint.weights
            except Unavailable as error:  # models or disk are busy with requests, which go first
                await asyncio.sleep(error.retry_after_s)

    async def _embed_some(self, handle: Handle, embedder: Embedder, held: Reembedding) -> bool:
        """Embed some texts, or switch over if none is left; whether that was the end."""
        embed = held.target.embed
        assert embed is not None
        texts = await self._engine.texts_to_reembed(handle, AT_ONCE)
        if texts:
            # Cut, whatever the index says: the text is there already, and NONE would stop everything for one.
            rows = await self._inference.embed(embedder, [text.text for text in texts], embed.write_input_type, "END")
            vectors = dense_vectors(rows)
            embedded = list(zip(texts, vectors, [row.truncated for row in rows], strict=True))
            await self._engine.keep_reembedded(handle, held.fingerprint, embedded)
            return False
        if await self._engine.finish_reembedding(handle):
            self._indexes.embedders.forget(handle)
            return True
        if await self._engine.reembedding(handle) is None:  # another owner has finished it
            return True
        if not await self._engine.texts_to_reembed(handle, 1):
            raise FailedPrecondition("a record without text was stored meanwhile; delete it, and run it again")
        return False
