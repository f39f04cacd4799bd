"""What those who run a server ask: GET /metrics, as Prometheus reads it; and room on the disk back."""

from collections.abc import Awaitable, Callable

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from pinyon.metrics import CONTENT_TYPE
from pinyon.services.control_plane.indexes import Indexes


@get("/metrics", operation_id="metrics")
async def metrics(measures: NamedDependency[Callable[[], Awaitable[bytes]]]) -> Response[bytes]:
    """Counts and times since the start, and what there is now."""
    return Response(await measures(), headers={"content-type": CONTENT_TYPE})


class Compacted(msgspec.Struct, frozen=True):
    """Bytes on disk."""

    bytes_before: int
    bytes_after: int


@post("/indexes/{index_name:str}/compact", status_code=200, operation_id="pinyon_compact")
async def compact(index_name: FromPath[str], indexes: NamedDependency[Indexes]) -> Compacted:
    """Give back the room of what was deleted from an index; answers when it is done."""
    return Compacted(*await indexes.compact(index_name))


router = Router("/", route_handlers=[metrics, compact])
