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
    """The JSON schema of a struct, with an object at its root, as MCP wants it.

    Shapes are written out where they are used, because some clients do not follow references.
    """
    _, shapes = msgspec.json.schema_components([shape], ref_template="{name}")
    root: dict[str, Any] = _written_out(shapes[shape.__name__], shapes)
    return root


def _written_out(part: Any, shapes: dict[str, Any]) -> Any:
    """A part of a schema, with shapes in place of references to them."""
    if isinstance(part, list):
        return [_written_out(each, shapes) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        beside = {name: value for name, value in part.items() if name != "$ref"}
        return _written_out({**shapes[part["$ref"]], **beside}, shapes)
    return {name: _written_out(value, shapes) for name, value in part.items()}
