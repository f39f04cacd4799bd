"""Joins a service with the tools for agents. The MCP SDK is imported only where somebody asks for it."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pinyon.asgi import LARGEST_BODY
from pinyon.mcp.sdk import require_sdk
from pinyon.mcp.tool import Services
from pinyon.server import Service

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

    from pinyon.mcp.endpoint import McpEndpoint


def mcp_server(service: Service) -> "Server[Any]":
    """The tools as a server of the SDK. Raises FailedPrecondition if the SDK is not installed."""
    require_sdk()
    from pinyon.mcp.protocol import sdk_server

    settings = service.settings

    def services() -> Services:
        parts = service.ready()
        return Services(
            indexes=parts.indexes,
            records=parts.records,
            vectors=parts.vectors,
            namespaces=parts.namespaces,
            facets=parts.facets,
            inference=service.inference,
            catalog=service.catalog,
            readiness=service.readiness,
            limits=settings.limits,
            read_only=settings.storage.read_only,
        )

    return sdk_server(services, version("pinyon"), settings.storage.read_only)


def mcp_endpoint(service: Service) -> "McpEndpoint":
    """The tools over HTTP. Raises FailedPrecondition if the SDK is not installed."""
    server = mcp_server(service)
    from pinyon.mcp.endpoint import McpEndpoint

    return McpEndpoint(server, max(LARGEST_BODY, service.settings.limits.upsert_bytes))
