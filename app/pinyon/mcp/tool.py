"""What a tool is: a name, arguments and results with their JSON schemas, and the function that answers."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from pinyon.auth.scopes import Scope
from pinyon.inference.catalog import Catalog
from pinyon.mcp.arguments import Arguments
from pinyon.mcp.results import Result
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.control_plane.readiness import Readiness
from pinyon.services.data_plane.facets import Facets
from pinyon.services.data_plane.namespaces import Namespaces
from pinyon.services.data_plane.records.records import Records
from pinyon.services.data_plane.vectors import Vectors
from pinyon.services.inference.inference import Inference
from pinyon.settings import LimitSettings


class Services(msgspec.Struct, frozen=True):
    """What tools call. They hold every caller to the rights of its key. read_only: nothing can be written."""

    indexes: Indexes
    records: Records
    vectors: Vectors
    namespaces: Namespaces
    facets: Facets
    inference: Inference
    catalog: Catalog
    readiness: Readiness
    limits: LimitSettings
    read_only: bool = False


class Tool(msgspec.Struct, frozen=True):
    """A tool. scope: what a key needs so that the tool is offered; None: nothing. The services check rights again.

    destroys: it may replace what is stored. Every tool that is called twice with the same arguments has the same
    effect as when it is called once.
    """

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    result: type[Result]
    call: Callable[[Services, Any], Awaitable[Result]]
    scope: Scope | None = "read"
    destroys: bool = False

    @property
    def writes(self) -> bool:
        """Whether the tool changes something."""
        return self.scope in ("write", "control")


def schema(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of a struct, with an object at its root, as MCP wants it."""
    _, components = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    root: dict[str, Any] = components.pop(shape.__name__)
    return {**root, "$defs": components} if components else root
