"""Re-embeds an index: embeds its stored texts with another model while the index goes on answering."""

import asyncio
import logging

import msgspec

from pinyon.auth import permissions
from pinyon.concurrency.locks import NamedLocks
from pinyon.domain import Fingerprint, Handle, Index, IndexSpec, Lease, Note, ReembeddedText, Reembedding
from pinyon.errors import FailedPrecondition, InvalidArgument, NotFound, PinyonError, Unavailable
from pinyon.inference.backend import Embedder
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_executor import ModelExecutor
from pinyon.services.control_plane import index_rules
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.inference.embedded_text import TokenForm, dense_vectors
from pinyon.services.inference.inference import Inference
from pinyon.services.leased_jobs import LeasedJobs
from pinyon.storage.engine import Engine

log = logging.getLogger("pinyon.reembedding")

BATCH = 32
"""Texts to embed at a time. A crash loses at most one batch, and a query waits for at most one."""
NOTE = "reembedding"
"""The key of the note that says why the last re-embedding of an index stopped."""


class Progress(msgspec.Struct, frozen=True):
    """running: whether texts are being embedded. model: the new one. done, total: records. failed: why it stopped."""

    running: bool
    model: str | None = None
    done: int = 0
    total: int = 0
    failed: str | None = None


class Reembeddings:
    """The re-embeddings of all indexes. One that was begun goes on in whichever process there is."""

    def __init__(
        self, engine: Engine, indexes: Indexes, catalog: Catalog, inference: Inference, executor: ModelExecutor
    ) -> None:
        self._engine, self._indexes, self._catalog = engine, indexes, catalog
        self._inference, self._executor = inference, executor
        self._jobs = LeasedJobs(engine, "reembedding", self._run, self._is_wanted)
        self._change_locks = NamedLocks()

    async def resume(self) -> None:
        """Go on with the re-embeddings that earlier processes began, those that stopped with an error included."""
        for index in self._engine.indexes():
            try:
                if await self._engine.reembedding(index.handle) is not None:
                    await self._note_failure(index.handle, None)
            except PinyonError as error:  # the other indexes are not affected
                log.error("re-embedding index %s cannot continue: %s", index.name, error.message)
        await self._jobs.open()

    async def start(
        self, name: str, model: str, dimension: int | None = None, sparse_model: str | None = None
    ) -> Progress:
        """Begin a re-embedding, or continue the one for the same model. Returns without waiting for it.

        sparse_model: the learned sparse model beside it; "none" for none, None for that of the index. Raises NotFound
        for an unknown index or model, InvalidArgument if a model does not fit the index, FailedPrecondition if a model
        is not on this machine or a record has no text.
        """
        permissions.check("control", name)
        index = self._indexes.index(name)
        target, fingerprint = await self._executor.run(self._target, index.spec, model, dimension, sparse_model)
        same = await self._engine.fingerprint(index.handle) == fingerprint
        if same and await self._engine.reembedding(name) is None and not await self._has_effect(index):
            raise FailedPrecondition(f"Index {name} is embedded by this very model already")
        async with self._change_locks.of(name):
            await self._jobs.stop(index.handle)
            await self._jobs.announce(index.handle)
            await self._engine.begin_reembedding(index.handle, target, fingerprint)
            await self._note_failure(index.handle, None)
            self._jobs.start(index.handle)
        return await self.progress(name)

    async def _has_effect(self, index: Index) -> bool:
        """Whether re-embedding with the same model has an effect.

        It has if callers stored vectors of their own, or if the index stores token vectors, which older records lack.
        """
        if index.spec.embed is not None and index.spec.embed.token_vectors == "stored":
            return True
        return any(namespace.foreign for namespace in await self._engine.every_namespace(index.handle))

    def _target(
        self, spec: IndexSpec, model: str, dimension: int | None, sparse_model: str | None
    ) -> tuple[IndexSpec, Fingerprint]:
        """The new spec of the index, and the fingerprint of the new model. Loads no weights, but hashes them."""
        if spec.embed is None:
            raise InvalidArgument(f"Index {spec.name} has no integrated embedding; its vectors are yours")
        if spec.sparse:
            raise InvalidArgument(f"Index {spec.name} is sparse; only dense indexes can be re-embedded")
        entry = self._catalog.entry(model, "embed")
        if spec.metric not in entry.metrics:
            allowed = ", ".join(entry.metrics)
            raise InvalidArgument(f"Model '{model}' has the metrics {allowed}; index {spec.name} has {spec.metric}")
        sparse_model = index_rules.sparse_model(self._catalog, sparse_model, spec.embed.sparse_model)
        fingerprint = self._catalog.fingerprint(model, dimension, sparse_model)
        embed = msgspec.structs.replace(
            spec.embed, model=model, read_max_tokens=None, write_max_tokens=None, sparse_model=sparse_model
        )
        if (model, sparse_model) != (spec.embed.model, spec.embed.sparse_model):  # they were fitted to others
            embed = msgspec.structs.replace(embed, mix=None, calibration={})
        if embed.read_truncate not in entry.truncations:
            embed = msgspec.structs.replace(embed, read_truncate=entry.truncate)
        if embed.write_truncate not in entry.truncations:
            embed = msgspec.structs.replace(embed, write_truncate=entry.truncate)
        return msgspec.structs.replace(spec, dimension=fingerprint.dimension, embed=embed), fingerprint

    async def progress(self, name: str) -> Progress:
        """How far a re-embedding is. If there is none, it is not running and nothing is done. Raises NotFound."""
        permissions.check_whole(name)  # the counts are of all namespaces together
        handle = self._indexes.index(name).handle
        state = await self._engine.reembedding(handle)
        failed = await self._failure(handle)
        if state is None:  # a job that still works has switched the vectors, and the index shows the new model soon
            return Progress(self._jobs.is_working(handle), failed=failed)
        model = state.target.embed.model if state.target.embed else None
        return Progress(failed is None, model, state.done, state.total, failed)

    async def cancel(self, name: str) -> None:
        """Stop a re-embedding and delete its new vectors. The index stays as it is.

        Raises NotFound, or FailedPrecondition if the re-embedding was finished before it could be stopped.
        """
        permissions.check("control", name)
        handle = self._indexes.index(name).handle
        async with self._change_locks.of(name):
            state = await self._engine.reembedding(handle)
            await self._jobs.stop(handle)
            await self._engine.cancel_reembedding(handle)
            if state is not None and await self._engine.fingerprint(handle) == state.fingerprint:
                self._indexes.embedders.forget(handle)
                raise FailedPrecondition(f"Index {name} was re-embedded before it could be stopped")
            await self._note_failure(handle, "it was cancelled")

    async def close(self) -> None:
        """Stop all re-embeddings. They go on in another process, or at the next start."""
        await self._jobs.close()

    async def _failure(self, handle: Handle) -> str | None:
        """Why the last re-embedding of an index stopped."""
        return next((note.text for note in await self._engine.notes(handle) if note.key == NOTE), None)

    async def _note_failure(self, handle: Handle, failure: str | None) -> None:
        await self._engine.put_note(handle, Note(NOTE, failure))

    async def _is_wanted(self, handle: Handle) -> bool:
        return await self._engine.reembedding(handle) is not None and await self._failure(handle) is None

    async def _run(self, handle: Handle, lease: Lease) -> None:
        failure = None
        try:
            weights = await self._embed_all(handle)
            if weights is not None:
                log.info("index %s is embedded by %s now", handle.name, weights)
        except NotFound:  # the index was deleted
            return
        except PinyonError as error:
            failure = error.message
            log.error("re-embedding index %s stopped: %s", handle.name, failure)
        except Exception as error:
            failure = f"a defect of Pinyon's own ({type(error).__name__}); the log has the details"
            log.exception("re-embedding index %s stopped", handle.name)
        if failure is not None:
            await self._note_failure(handle, failure)

    async def _embed_all(self, handle: Handle) -> str | None:
        """Embed all texts, then switch the index to the new vectors.

        Returns the name of the weights, or None if the re-embedding was cancelled or somebody else has finished it.
        """
        embedder: Embedder | None = None
        while True:
            try:
                state = await self._engine.reembedding(handle)
                if state is None:
                    return None
                if embedder is None or embedder.fingerprint != state.fingerprint:
                    embedder = await self._executor.run(self._catalog.embedder, state.fingerprint)
                if await self._embed_towards(handle, embedder, state):
                    return state.fingerprint.weights
            except Unavailable as error:  # models or disk are busy with requests, which have priority
                await asyncio.sleep(error.retry_after_s)

    async def _embed_towards(self, handle: Handle, embedder: Embedder, state: Reembedding) -> bool:
        """Embed the texts that are left, then switch the index to the new vectors. Returns whether it did.

        False if the re-embedding was changed meanwhile, or if texts were stored at the last moment.
        """
        embed = state.target.embed
        assert embed is not None
        form: TokenForm | None = "codes" if embed.token_vectors == "stored" else None
        while texts := await self._engine.texts_to_reembed(handle, BATCH):
            # Truncate even if the index says NONE. Otherwise one long text, which is stored already, would stop it all.
            plain = [text.text for text in texts]
            rows = await self._inference.embed(embedder, plain, embed.write_input_type, "END", form)
            words = await self._inference.learned_words(embedder.sparse, plain, embed.write_input_type)
            new = [
                ReembeddedText(text, vector, row.truncated, learned, row.token_codes)
                for text, vector, row, learned in zip(texts, dense_vectors(rows), rows, words, strict=True)
            ]
            if not await self._engine.keep_reembedded(handle, state.fingerprint, new):
                return False
        if await self._engine.finish_reembedding(handle):
            self._indexes.embedders.forget(handle)
            return True
        if await self._engine.reembedding(handle) is None:
            return False
        if not await self._engine.texts_to_reembed(handle, 1):
            raise FailedPrecondition("a record without a text was stored meanwhile; delete it, then start again")
        return False
