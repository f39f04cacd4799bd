"""Routes for the operators of a server: the metrics, and compaction of an index."""

from collections.abc import Awaitable, Callable

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from pinyon.metrics import CONTENT_TYPE
from pinyon.services.control_plane.indexes import Indexes


@get("/metrics", operation_id="metrics")
async def metrics(measures: NamedDependency[Callable[[], Awaitable[bytes]]]) -> Response[bytes]:
    """The metrics in the text format of Prometheus."""
    return Response(await measures(), headers={"content-type": CONTENT_TYPE})


class Compacted(msgspec.Struct, frozen=True):
    """Bytes on disk before and after a compaction."""

    bytes_before: int
    bytes_after: int


@post("/indexes/{index_name:str}/compact", status_code=200, operation_id="pinyon_compact")
async def compact(index_name: FromPath[str], indexes: NamedDependency[Indexes]) -> Compacted:
    """Free the disk space of deleted records. The response is sent when it is done."""
    return Compacted(*await indexes.compact(index_name))


router = Router("/", route_handlers=[metrics, compact])
