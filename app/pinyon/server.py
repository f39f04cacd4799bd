"""The one place that picks classes and joins them, and the life of the service."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar, Request
from litestar.config.cors import CORSConfig
from litestar.di import Provide

from pinyon import metrics
from pinyon.api.error_response import is_grpc
from pinyon.api.grpc.calls import GrpcCalls
from pinyon.api.grpc.service import VectorService
from pinyon.api.guard import Guard
from pinyon.api.headers import RequestHeaders
from pinyon.api.request_buffer import WholeRequests
from pinyon.api.request_line import RequestLine
from pinyon.api.rest.errors import EXCEPTION_HANDLERS
from pinyon.api.rest.openapi import openapi
from pinyon.api.rest.paths import RawPaths
from pinyon.api.rest.routes import (
    control,
    health,
    inference,
    namespaces,
    not_kept,
    operations,
    records,
    reembedding,
    vectors,
)
from pinyon.auth.guarded_engine import GuardedEngine
from pinyon.auth.keys import Keys
from pinyon.domain import Index
from pinyon.errors import PinyonError
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_executor import ModelExecutor
from pinyon.patches.litestar import resolve_dependencies_in_turn
from pinyon.services import gauges
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.control_plane.readiness import Readiness
from pinyon.services.control_plane.reembedding import Reembeddings
from pinyon.services.data_plane.namespaces import Namespaces
from pinyon.services.data_plane.records import Records
from pinyon.services.data_plane.vectors import Vectors
from pinyon.services.inference.inference import Inference
from pinyon.settings import Settings
from pinyon.storage.engine import Engine
from pinyon.storage.engines import installation_of

log = logging.getLogger("pinyon")

LARGEST_BODY = 4 * 1024 * 1024
"""Bytes after which any request is refused unread; routes have lower limits of their own."""
VECTOR_UPSERTS = ("/vectors/upsert", "/VectorService/Upsert")
"""Paths of requests whose numbers are counted, whatever text they are sent as; their bodies may be larger."""
LAST_CALL_S = 5.0
"""How long the end waits for the model call that is being computed."""


class Service:
    """The running parts of one installation, joined. Raises PinyonError if the catalogue or the settings are wrong.

    addresses: where the server and its indexes are reached.
    """

    def __init__(self, settings: Settings, addresses: Addresses) -> None:
        models = settings.models
        self.settings, self.addresses = settings, addresses
        self.keys = Keys(Path(settings.storage.data_dir), settings.server.api_key)
        self.readiness = Readiness(self.keys.trouble)
        self.catalog = Catalog(
            settings.models_dir, models.paths, models.stand_ins, models.threads, models.token_cache_bytes
        )
        for name in models.preload:
            self.catalog.entry(name, "rerank")
        self.executor = ModelExecutor(models.queue)
        self.inference = Inference(self.catalog, self.executor, models.query_cache_bytes)
        self.engine: Engine | None = None
        self.indexes: Indexes
        self.records: Records
        self.vectors: Vectors
        self.namespaces: Namespaces
        self.reembeddings: Reembeddings | None = None
        self.grpc: VectorService

    @asynccontextmanager
    async def running(
        self, on_ready: Callable[[], None], on_failure: Callable[[Exception], None]
    ) -> AsyncIterator[None]:
        """Open storage and load models beside the caller, then call one of the two; let go of everything at the end."""

        async def begin() -> None:
            try:
                await self._open()
                self.readiness.waiting_for = None
                await self._load()
                self.readiness.loading = False
                await self.indexes.load_embedders()  # of indexes that were made in the last moment
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
            if self.reembeddings is not None:
                await self.reembeddings.close()
                await self.indexes.close()
            await asyncio.to_thread(self.executor.close, LAST_CALL_S)
            if self.engine is not None:
                await self.engine.close()

    def stopping(self) -> None:
        """Take nothing new."""
        self.readiness.waiting_for = "the server is stopping"

    async def _open(self) -> None:
        self.engine = await installation_of(self.settings.storage).open(wait=False)
        self.indexes = Indexes(self.engine, self.catalog, self.executor, self.addresses, self.readiness)
        limits, models = self.settings.limits, self.settings.models
        guarded = GuardedEngine(self.engine)
        self.records = Records(guarded, self.indexes, self.inference, limits, models.mix)
        self.vectors = Vectors(guarded, limits)
        self.namespaces = Namespaces(guarded, limits)
        self.reembeddings = Reembeddings(self.engine, self.indexes, self.catalog, self.inference, self.executor)
        self.grpc = VectorService(self.vectors, self.namespaces)
        await self.indexes.open(self.settings.index)

    async def _load(self) -> None:
        assert self.engine is not None and self.reembeddings is not None
        await self.indexes.see_to_default()
        await self.executor.run(self.catalog.verify)
        await self.engine.all_opened()
        await self.indexes.see_to_ports()
        await self.indexes.load_embedders()
        if not self.settings.storage.read_only:
            await self.reembeddings.resume()
        for name in self.settings.models.preload:
            if self.catalog.present(name):
                try:
                    await self.executor.run(self.catalog.load, name)
                except PinyonError as error:  # it is this model's trouble alone
                    log.error("%s", error.message)

    async def measures(self) -> bytes:
        """The metrics, those of this moment included."""
        await gauges.measure(self.engine, self.executor, self.readiness, Path(self.settings.storage.data_dir))
        return metrics.text()

    def index_of(self, scope: Any) -> Index:
        """The index a request is for. Raises Unavailable before the service is ready, NotFound without an index."""
        self.readiness.check()
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        return self.indexes.at(host, scope["server"][1] if scope.get("server") else None)

    def ready_indexes(self) -> Indexes:
        """The indexes service. Raises Unavailable before it is ready."""
        self.readiness.check()
        return self.indexes

    def ready_reembeddings(self) -> Reembeddings:
        """The reembedding service. Raises Unavailable before it is ready."""
        self.readiness.check()
        assert self.reembeddings is not None
        return self.reembeddings

    def ready_grpc(self) -> VectorService:
        """The gRPC service. Raises Unavailable before it is ready."""
        self.readiness.check()
        return self.grpc


def create_app(service: Service) -> Any:
    """The ASGI application of a service; whoever serves it also keeps the service running."""
    settings = service.settings
    largest, of_vectors = max(LARGEST_BODY, settings.limits.upsert_bytes), settings.limits.vector_body_bytes

    def most_bytes(scope: Any) -> int:
        return max(largest, of_vectors) if scope["path"] in VECTOR_UPSERTS else largest

    rest = RawPaths(rest_app(service))
    grpc = GrpcCalls(service.ready_grpc, service.index_of, most_bytes)

    async def both(scope: Any, receive: Any, send: Any) -> None:
        is_call = scope["type"] == "http" and is_grpc(scope)
        await (grpc if is_call else rest)(scope, receive, send)

    server = settings.server
    app = Guard(
        WholeRequests(both, most_bytes),
        service.keys.required,
        service.keys.caller,
        local=not server.insecure,
        host=server.host,
        origins=server.cors_origins,
    )
    return RequestLine(RequestHeaders(app, server.access_log))


def rest_app(service: Service) -> Any:
    """The REST routes alone."""

    def provide(value: Callable[..., Any]) -> Provide:
        return Provide(value, sync_to_thread=False)

    def ready(value: Callable[[], Any]) -> Callable[[], Any]:
        """Dependencies are made in no certain order, and before storage is open there are no services."""

        def checked() -> Any:
            service.readiness.check()
            return value()

        return checked

    def index(request: Request[Any, Any, Any]) -> Index:
        return service.index_of(request.scope)

    cors = service.settings.server.cors_origins
    families = (health, operations, control, not_kept, reembedding, inference, records, vectors, namespaces)

    async def note(request: Request[Any, Any, Any]) -> None:  # what is not async would be run on another thread
        request.scope["state"]["operation"] = request.route_handler.operation_id or "none"

    app = Litestar(
        before_request=note,
        route_handlers=[*(family.router for family in families), openapi],
        dependencies={
            "index": provide(index),
            "indexes": provide(service.ready_indexes),
            "reembeddings": provide(service.ready_reembeddings),
            "catalog": provide(lambda: service.catalog),
            "records": provide(ready(lambda: service.records)),
            "vectors": provide(ready(lambda: service.vectors)),
            "namespaces": provide(ready(lambda: service.namespaces)),
            "inference": provide(lambda: service.inference),
            "readiness": provide(lambda: service.readiness),
            "measures": provide(lambda: service.measures),
            "limits": provide(lambda: service.settings.limits),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=None,  # it is whole and bounded already
        logging_config=None,
        openapi_config=None,
        cors_config=CORSConfig(allow_origins=list(cors)) if cors else None,
    )
    resolve_dependencies_in_turn(app)
    return app
