"""The tools as a server of the MCP SDK: lists those that the caller's key may use, and calls them."""

import logging
from collections.abc import Callable
from typing import Any

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from pinyon import decoding
from pinyon.auth.permissions import GRANT, Grant
from pinyon.errors import Internal, NotFound, PermissionDenied, PinyonError, Unavailable
from pinyon.mcp.shortening import names
from pinyon.mcp.tool import Services, Tool, schema
from pinyon.mcp.tools import indexes, records, reranking, searches

log = logging.getLogger("pinyon.mcp")

TOOLS: dict[str, Tool] = {
    tool.name: tool for tool in (*indexes.TOOLS, *searches.TOOLS, *reranking.TOOLS, *records.TOOLS)
}
INSTRUCTIONS = (
    "A search service for texts. list-indexes shows the indexes, search-records searches one of them by meaning or by "
    "words. Answers are short: `notes` say what was cut and how to get more."
)
GRANT_IN_STATE = "mcp_grant"
"""Where the HTTP endpoint leaves the grant of a request's key, in the scope's state."""

Context = ServerRequestContext[Any, Any]


def sdk_server(services: Callable[[], Services], version: str, read_only: bool) -> Server[Any]:
    """A server of the SDK with all tools. services: raises Unavailable while the service is not ready."""

    async def list_tools(context: Context, _: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        grant = _grant(context)
        return types.ListToolsResult(
            tools=[_shown(tool) for tool in TOOLS.values() if _is_offered(tool, grant, read_only)]
        )

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = TOOLS.get(params.name)
        if tool is None:
            raise MCPError(
                types.INVALID_PARAMS, f"There is no tool '{params.name[:80]}'; there are: {', '.join(TOOLS)}"
            )
        token = GRANT.set(_grant(context))
        try:
            return await _answer(tool, services, params.arguments or {})
        finally:
            GRANT.reset(token)

    return Server(
        "pinyon",
        version=version,
        title="Pinyon",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _grant(context: Context) -> Grant:
    """The rights of the key of a request, which the SDK may handle in a task of its own.

    Without an HTTP request, the caller is a program on this machine that has started this process.
    """
    if context.request is None:
        return GRANT.get()
    grant: Grant = context.request.scope["state"][GRANT_IN_STATE]
    return grant


def _is_offered(tool: Tool, grant: Grant, read_only: bool) -> bool:
    if tool.writes and read_only:
        return False
    if tool.scope == "control" and grant.namespaces is not None:
        return False
    return tool.scope is None or tool.scope in grant.scopes


def _shown(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=schema(tool.arguments),
        output_schema=schema(tool.result),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=not tool.writes,
            destructive_hint=tool.destroys,
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )


async def _answer(tool: Tool, services: Callable[[], Services], given: dict[str, Any]) -> types.CallToolResult:
    """Call a tool. Errors are results too, so that the agent reads what it can do about them."""
    ready: Services | None = None
    try:
        arguments = decoding.convert(given, tool.arguments)
        ready = services()
        result = await tool.call(ready, arguments)
    except msgspec.ValidationError as error:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(tool.arguments))
        return _failed(f"INVALID_ARGUMENT: {error}. {tool.name} takes: {known}. Its input schema says more.")
    except RecursionError:
        return _failed("INVALID_ARGUMENT: The arguments are nested too deeply")
    except PinyonError as error:
        return _failed(_advice(error, ready))
    except Exception:
        log.exception("the tool %s failed", tool.name)
        return _failed(f"{Internal.code}: The server failed; its log has the details")
    text = msgspec.json.encode(result).decode()
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=msgspec.to_builtins(result)
    )


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


def _advice(error: PinyonError, services: Services | None) -> str:
    """The message of an error, and what to do now."""
    text = f"{error.code}: {error.message}"
    if isinstance(error, Unavailable):
        return f"{text}. Try again in {error.retry_after_s} s."
    if isinstance(error, NotFound) and services is not None and error.message.startswith("Index "):
        visible = [index.name for index in services.indexes.all()]
        return f"{text} The indexes that this key may see: {names(visible) or 'none'}."
    if isinstance(error, PermissionDenied):
        return f"{text}. Another call will not help; ask whoever runs this server for a key with more rights."
    return text
