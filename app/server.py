"""create_app(settings): the one place that picks classes and joins them, and the life of the service."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.di import Provide

from app.api.rest import health, inference, records
from app.api.rest.errors import EXCEPTION_HANDLERS
from app.api.rest.headers import RequestHeaders
from app.api.rest.paths import RawPaths
from app.errors import NotFound
from app.inference.batcher import Batcher
from app.inference.catalog import Catalog
from app.services.indexes import Indexes
from app.services.inference import Inference
from app.services.readiness import Readiness
from app.services.records import Records
from app.settings import Settings
from app.storage.engine import Engine
from app.storage.sqlite_engine import SqliteEngine

log = logging.getLogger("pinyon")

LARGEST_BODY = 4 * 1024 * 1024
"""Bytes after which any request is refused unread; routes have lower limits of their own."""


class Service:
    """The running parts of one installation, joined."""

    def __init__(self, settings: Settings) -> None:
        models = settings.models
        self.settings = settings
        self.readiness = Readiness()
        self.catalog = Catalog(
            settings.models_dir, models.paths, models.stand_ins, models.threads, models.token_cache_bytes
        )
        self.engine: Engine
        self.indexes: Indexes
        self.inference: Inference
        self.records: Records
        self._batcher: Batcher

    async def open(self) -> None:
        """Open storage. Raises FailedPrecondition or DataLoss with what is in the way."""
        storage = self.settings.storage
        self.engine = await SqliteEngine.open_folder(Path(storage.data_dir), storage.readers, storage.mmap_bytes)
        self._batcher = Batcher(self.settings.models.queue)
        self.indexes = Indexes(self.engine, self.catalog, self._batcher)
        self.inference = Inference(self.catalog, self._batcher)
        self.records = Records(self.engine, self.indexes, self.inference, self.settings.limits)
        try:
            await self.indexes.open(self.settings.index)
        except BaseException:
            await self.close()
            raise
        self.readiness.waiting_for = "models are being loaded"

    @asynccontextmanager
    async def running(self, on_ready: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
        """Open; load the models behind the caller's back, then call on_ready; close at the end."""
        await self.open()
        loading = asyncio.create_task(self._load(on_ready))
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await self.close()

    async def _load(self, on_ready: Callable[[], None]) -> None:
        try:
            await self.load()
        except Exception as error:  # without its models the service has nothing to offer; /ready says why
            log.exception("loading the models failed")
            self.readiness.waiting_for = f"loading the models failed ({type(error).__name__}); the log has the details"
        else:
            on_ready()

    async def load(self) -> None:
        """Load every model that is to answer at once; ready afterwards."""
        await self.indexes.load_embedders()
        for name in self.settings.models.preload:
            if self.catalog.present(name):
                await self._batcher.run(self.catalog.load, name)
        self.readiness.waiting_for = None

    async def close(self) -> None:
        """Finish what was begun and let go of everything."""
        self.readiness.waiting_for = "the server is stopping"
        await asyncio.to_thread(self._batcher.close)
        await self.engine.close()

    def default_index(self) -> str:
        """The index that answers here. Raises Unavailable before the service is ready, NotFound without an index."""
        self.readiness.check()
        if self.indexes.default is None:
            raise NotFound("This server has no index; describe one in the [index] table of the settings file")
        return self.indexes.default


def create_app(settings: Settings) -> Any:
    """The ASGI application with a life of its own: the service opens and closes with the server's lifespan."""
    service = Service(settings)
    return application(service, lifespan=[lambda app: service.running()])


def application(service: Service, lifespan: Sequence[Any] = ()) -> Any:
    """The ASGI application of a service that somebody else opens and closes."""

    def provide(value: Callable[[], Any]) -> Provide:
        return Provide(value, sync_to_thread=False)

    app = Litestar(
        route_handlers=[health.router, records.router, inference.router],
        lifespan=lifespan,
        dependencies={
            "index": provide(service.default_index),
            "records": provide(lambda: service.records),
            "inference": provide(lambda: service.inference),
            "readiness": provide(lambda: service.readiness),
            "limits": provide(lambda: service.settings.limits),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=max(LARGEST_BODY, service.settings.limits.upsert_bytes),
        logging_config=None,
        openapi_config=None,
    )
    return RequestHeaders(RawPaths(app))
