"""The one place that picks classes and joins them, and the life of the service. asgi.py makes an application of it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from pinyon import metrics
from pinyon.api.grpc.service import VectorService
from pinyon.auth.guarded_engine import GuardedEngine
from pinyon.auth.keys import Keys
from pinyon.auth.shared_keys import SharedKeys
from pinyon.domain import Index
from pinyon.errors import PinyonError, Unavailable
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_executor import ModelExecutor
from pinyon.inference.precision import Choice
from pinyon.inference.precision_search import PrecisionSearch
from pinyon.services import gauges
from pinyon.services.backups.backups import Backups
from pinyon.services.backups.schedules import BackupSchedules
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.control_plane.api_keys import ApiKeys
from pinyon.services.control_plane.index_status import IndexStatus
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.control_plane.readiness import RETRY_AFTER_S, Readiness
from pinyon.services.control_plane.reembedding import Reembeddings
from pinyon.services.data_plane.backup_records import BackupRecords
from pinyon.services.data_plane.facets import Facets
from pinyon.services.data_plane.namespaces import Namespaces
from pinyon.services.data_plane.record_edits import RecordEdits
from pinyon.services.data_plane.records.calibrations import Calibrations
from pinyon.services.data_plane.records.records import Records
from pinyon.services.data_plane.upsert_checks import UpsertChecks
from pinyon.services.data_plane.vectors import Vectors
from pinyon.services.imports.importer import Importer
from pinyon.services.imports.imports import Imports
from pinyon.services.imports.upload_mirror import UploadMirror
from pinyon.services.imports.uploads import Uploads
from pinyon.services.inference.inference import Inference
from pinyon.services.judgements.judgements import Judgements
from pinyon.services.judgements.measurements import Measurements
from pinyon.services.judgements.stores import FolderJudgements, SharedJudgements
from pinyon.services.overview.history import History
from pinyon.services.overview.overview import Overview
from pinyon.settings import Settings
from pinyon.storage.engine import Engine
from pinyon.storage.engines import installation_of
from pinyon.storage.recall import RecallSampler

log = logging.getLogger("pinyon")

LAST_CALL_S = 5.0
"""How long the end waits for the model call that is being computed."""


class OpenParts(msgspec.Struct, frozen=True):
    """What exists once storage is open."""

    engine: Engine
    recall: RecallSampler
    indexes: Indexes
    index_status: IndexStatus
    records: Records
    vectors: Vectors
    checks: UpsertChecks
    namespaces: Namespaces
    facets: Facets
    record_edits: RecordEdits
    judgements: Judgements
    measurements: Measurements
    reembeddings: Reembeddings
    backups: Backups
    imports: Imports
    uploads: Uploads
    overview: Overview
    history: History
    backup_records: BackupRecords
    backup_schedules: BackupSchedules
    grpc: VectorService

    async def close(self) -> None:
        """Stop what runs in the background; storage stays open."""
        await self.history.close()
        await self.imports.close()
        await self.measurements.close()
        await self.reembeddings.close()
        await self.backup_schedules.close()
        await self.backups.close()
        await self.indexes.close()
        await self.recall.close()


class Service:
    """The running parts of one installation, joined. Raises PinyonError if the catalogue or the settings are wrong.

    addresses: where the server and its indexes are reached. patience_s: how long a start waits for a database that does
    not answer.
    """

    def __init__(self, settings: Settings, addresses: Addresses, patience_s: float = 0.0) -> None:
        models = settings.models
        self._patience_s = patience_s
        self.settings, self.addresses = settings, addresses
        self.installation = installation_of(settings.storage)
        key = settings.server.api_key
        self.keys = SharedKeys(key) if self.installation.is_shared else Keys(Path(settings.storage.data_dir), key)
        self.api_keys = ApiKeys(self.keys)
        self.readiness = Readiness(self.keys.problem)
        self.catalog = Catalog.of(settings)
        for name in models.preload:
            self.catalog.entry(name, "rerank")
        self.calibrations = Calibrations(settings.models_dir)
        self.executor = ModelExecutor(models.queue)
        self.inference = Inference(self.catalog, self.executor, models.query_cache_bytes)
        self._precision_search = PrecisionSearch(settings, self.catalog)
        self._parts: OpenParts | None = None
        self._finding_precisions: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(
        self,
        on_ready: Callable[[], None],
        on_failure: Callable[[Exception], None],
        on_open: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[None]:
        """Open storage and load models beside the caller; let go of everything at the end.

        on_open: called when storage is open, before any request is answered; if it raises, the start fails. on_ready,
        on_failure: one of them is called when the start is over.
        """

        async def begin() -> None:
            try:
                self._parts = parts = await self._open()
                on_open()
                await parts.indexes.open(self.settings.index)
                self.readiness.waiting_for = None
                await self._load(parts)
                self.readiness.loading = False
                await parts.indexes.embedders.load_all()  # of indexes that were made in the last moment
                on_ready()
            except Exception as error:
                self.readiness.waiting_for = "the start failed"
                on_failure(error)

        beginning = asyncio.create_task(begin())
        try:
            yield
        finally:
            self.stopping()
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
            if self._finding_precisions is not None:  # it ends soon, because its process was stopped
                await self._finding_precisions
            if self._parts is not None:
                await self._parts.close()
            await asyncio.to_thread(self.executor.close, LAST_CALL_S)
            if isinstance(self.keys, SharedKeys):
                await self.keys.close()
            if self._parts is not None:
                await self._parts.engine.close()

    def start_finding_precisions(self) -> asyncio.Task[None]:
        """Find out in the background how models are computed fastest on this machine, unless that is known.

        It is about the models of the indexes, and the rerankers that are loaded at the start. Empty indexes are
        computed so at once, rerankers from the next start on. Returns the task that does it.
        """
        self._finding_precisions = asyncio.create_task(self._find_precisions())
        return self._finding_precisions

    async def _find_precisions(self) -> None:
        embedders = self.parts.indexes.embedders
        loaded = [embedder for index in self.parts.indexes.all() if (embedder := embedders.loaded(index)) is not None]
        rerankers = [name for name in self.settings.models.preload if self.catalog.present(name)]
        for name in dict.fromkeys([*(embedder.fingerprint.weights for embedder in loaded), *rerankers]):
            if not self.catalog.needs_choice(name):
                continue
            try:
                choice = await asyncio.to_thread(self._precision_search.choose, name)
                if choice is not None:
                    await self._use(name, choice)
            except Exception:  # what is measured for later must not stop anything
                log.exception("the precision of %s could not be chosen", name)

    async def _use(self, name: str, choice: Choice) -> None:
        """Compute a model as it was chosen, and say so."""
        if self.catalog.entry(name).kind == "rerank":
            log.info("%s is computed in %s from the next start on (%s)", name, choice.precision, choice.reason)
            return
        await asyncio.to_thread(self.catalog.bare, name, choice.precision)  # loaded beside the requests, not before one
        self.catalog.choose(name, choice)
        keeping = await self.parts.indexes.embedders.load_again(name)
        kept = f"; until `pinyon reembed`, the records keep theirs in {', '.join(keeping)}" if keeping else ""
        log.info("%s is computed in %s from now on (%s)%s", name, choice.precision, choice.reason, kept)

    def stopping(self) -> None:
        """Take nothing new."""
        self._precision_search.stop()
        self.readiness.waiting_for = "the server is stopping"

    async def _opened(self) -> Engine:
        """The engine. A database that does not answer is asked again for a while."""
        deadline, told = time.monotonic() + self._patience_s, ""
        while True:
            try:
                return await self.installation.open(wait=False)
            except Unavailable as error:
                if not self.installation.is_shared or time.monotonic() >= deadline:
                    raise
                self.readiness.waiting_for = "the database does not answer"
                if error.message != told:
                    log.warning("the start waits for up to %g s: %s", self._patience_s, error.message)
                told = error.message
            await asyncio.sleep(RETRY_AFTER_S)

    async def _open(self) -> OpenParts:
        limits, models, storage = self.settings.limits, self.settings.models, self.settings.storage
        engine = await self._opened()
        self.readiness.trouble_with_storage = engine.problem
        if isinstance(self.keys, SharedKeys):
            assert engine.files is not None
            await self.keys.follow(engine.files, engine.watch)
        recall = RecallSampler(engine, storage.recall_sample, storage.approximate_recall)
        indexes = Indexes(engine, self.catalog, self.executor, self.addresses, self.readiness, storage.read_only)
        guarded = GuardedEngine(recall)
        taken = Backups(engine, indexes)
        vectors, namespaces = Vectors(guarded, limits), Namespaces(guarded, limits)
        records = Records(guarded, indexes, self.inference, limits, self.calibrations, models.mix)
        shared, data_dir = engine.files, Path(storage.data_dir)
        judgement_store = FolderJudgements(data_dir) if shared is None else SharedJudgements(shared)
        judgements = Judgements(judgement_store, limits, storage.read_only)
        importer = Importer(engine, indexes, vectors, records.upserts, limits)
        uploads = UploadMirror(data_dir, shared)
        imports = Imports(engine, indexes, importer, self.settings.imports.allow, uploads)
        index_status = IndexStatus(engine, indexes, recall.samples)
        reembeddings = Reembeddings(engine, indexes, self.catalog, self.inference, self.executor)
        return OpenParts(
            engine=engine,
            recall=recall,
            indexes=indexes,
            index_status=index_status,
            records=records,
            imports=imports,
            uploads=Uploads(imports, self.inference, uploads),
            overview=Overview(engine, guarded, indexes, index_status, taken, imports, reembeddings),
            history=History(recall.samples),
            vectors=vectors,
            checks=UpsertChecks(vectors, records.upserts, limits),
            namespaces=namespaces,
            facets=Facets(guarded, limits),
            record_edits=RecordEdits(vectors, records),
            reembeddings=reembeddings,
            judgements=judgements,
            measurements=Measurements(engine, records, judgements),
            backups=taken,
            backup_records=BackupRecords(engine, taken, limits),
            backup_schedules=BackupSchedules(engine, indexes, taken),
            grpc=VectorService(vectors, namespaces),
        )

    async def _load(self, parts: OpenParts) -> None:
        await parts.indexes.ensure_default()
        await self.executor.run(self.catalog.verify)
        await parts.engine.all_opened()
        await parts.backups.open()
        await parts.indexes.assign_ports()
        await parts.indexes.embedders.load_all()
        if self.settings.server.console:
            parts.history.start()
        if not self.settings.storage.read_only:
            await parts.reembeddings.resume()
            await parts.imports.open()
            parts.backup_schedules.start()
        for name in self.settings.models.preload:
            if self.catalog.present(name):
                try:
                    await self.executor.run(self.catalog.load, name)
                except PinyonError as error:  # it is this model's trouble alone
                    log.error("%s", error.message)

    async def measures(self) -> bytes:
        """The metrics, those of this moment included."""
        engine, recall = (None, []) if self._parts is None else (self._parts.engine, self._parts.recall.samples())
        await gauges.measure(engine, self.executor, self.readiness, recall)
        return metrics.text()

    @property
    def parts(self) -> OpenParts:
        """What exists once storage is open. Raises Unavailable before."""
        if self._parts is None:
            raise Unavailable("Not ready: storage is being opened", RETRY_AFTER_S)
        return self._parts

    def ready(self) -> OpenParts:
        """The parts that answer requests. Raises Unavailable while the service is not ready."""
        self.readiness.check()
        return self.parts

    async def index_of(self, scope: Any) -> Index:
        """The index a request is for. Raises Unavailable before the service is ready, NotFound without an index."""
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        return await self.ready().indexes.find(host, scope["server"][1] if scope.get("server") else None)
