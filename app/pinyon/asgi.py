"""The ASGI application of a service: the routes of the API and of the console, behind their wrappers."""

from collections.abc import Callable
from typing import Any

from litestar import Litestar, Request
from litestar.config.cors import CORSConfig
from litestar.di import Provide

from pinyon.api.error_response import is_grpc
from pinyon.api.grpc.calls import GrpcCalls
from pinyon.api.guard import Guard
from pinyon.api.headers import RequestHeaders
from pinyon.api.min_lsn import MinLsn
from pinyon.api.request_buffer import RequestBuffer
from pinyon.api.request_line import RequestLine
from pinyon.api.rest.errors import EXCEPTION_HANDLERS
from pinyon.api.rest.openapi import openapi
from pinyon.api.rest.paths import RawPaths
from pinyon.api.rest.routes import (
    backup_schedules,
    backups,
    checks,
    control,
    health,
    imports,
    inference,
    namespaces,
    operations,
    records,
    reembedding,
    vectors,
)
from pinyon.auth.permissions import GRANT
from pinyon.console.cookies import page_key
from pinyon.console.paths import IMPORT
from pinyon.console.router import router as console
from pinyon.domain import Index
from pinyon.patches.litestar import resolve_dependencies_in_turn
from pinyon.server import Service
from pinyon.services.imports.upload_files import MOST_UPLOAD

MCP_PATH = "/mcp"
"""Where tools for agents are served."""
LARGEST_BODY = 4 * 1024 * 1024
"""Bytes after which any request is refused unread; routes have lower limits of their own."""
VECTOR_UPSERTS = ("/vectors/upsert", "/vectors/check", "/VectorService/Upsert")
"""Paths of requests whose numbers are counted, whatever text they are sent as; their bodies may be larger."""
PARTS = (
    "indexes",
    "index_status",
    "backups",
    "backup_records",
    "backup_schedules",
    "imports",
    "uploads",
    "overview",
    "history",
    "reembeddings",
    "records",
    "vectors",
    "checks",
    "namespaces",
    "facets",
    "record_edits",
    "judgements",
    "measurements",
)
"""The parts of a service that handlers may ask for, by name."""


def create_app(service: Service, mcp: Any = None) -> Any:
    """The ASGI application of a service; whoever serves it also keeps the service running.

    mcp: the ASGI application that answers at /mcp, if one does.
    """
    settings = service.settings
    largest, of_vectors = max(LARGEST_BODY, settings.limits.upsert_bytes), settings.limits.vector_body_bytes

    def most_bytes(scope: Any) -> int:
        if scope["path"] == IMPORT and GRANT.get().scopes:
            return max(largest, MOST_UPLOAD)
        return max(largest, of_vectors) if scope["path"] in VECTOR_UPSERTS else largest

    rest = RawPaths(rest_app(service))
    grpc = GrpcCalls(lambda: service.ready().grpc, service.index_of, most_bytes)

    async def any_protocol(scope: Any, receive: Any, send: Any) -> None:
        is_request = scope["type"] == "http"
        if is_request and is_grpc(scope):
            await grpc(scope, receive, send)
        elif is_request and mcp is not None and scope["path"] == MCP_PATH:
            await mcp(scope, receive, send)
        else:
            await rest(scope, receive, send)

    server = settings.server
    app = Guard(
        RequestBuffer(MinLsn(any_protocol), most_bytes),
        service.keys.required,
        service.keys.caller,
        local=not server.insecure,
        host=server.host,
        origins=server.cors_origins,
        page_key=page_key if server.console else None,
    )
    return RequestLine(RequestHeaders(app, server.access_log))


def rest_app(service: Service) -> Any:
    """The REST routes alone."""

    def provide(value: Callable[..., Any]) -> Provide:
        return Provide(value, sync_to_thread=False)

    def part(name: str) -> Provide:
        return provide(lambda: getattr(service.ready(), name))

    async def index(request: Request[Any, Any, Any]) -> Index:
        return await service.index_of(request.scope)

    cors = service.settings.server.cors_origins
    families = (
        *(health, operations, control, backups, backup_schedules, imports, reembedding),
        *(inference, records, vectors, checks, namespaces),
    )

    pages = [console] if service.settings.server.console else []

    async def prepare(request: Request[Any, Any, Any]) -> None:  # what is not async would be run on another thread
        request.scope["state"]["operation"] = request.route_handler.operation_id or "none"
        if "index_name" in request.path_params:
            await service.parts.indexes.know(request.path_params["index_name"])

    app = Litestar(
        before_request=prepare,
        route_handlers=[*(family.router for family in families), openapi, *pages],
        dependencies={
            "index": Provide(index),
            **{name: part(name) for name in PARTS},
            "catalog": provide(lambda: service.catalog),
            "inference": provide(lambda: service.inference),
            "readiness": provide(lambda: service.readiness),
            "measures": provide(lambda: service.measures),
            "api_keys": provide(lambda: service.api_keys),
            "caller": provide(lambda: service.keys.caller),
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
