"""Is it alive, can it answer, how good are the answers."""

from typing import Any

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency

from pinyon.api.rest.errors import wire
from pinyon.domain import RecallSample
from pinyon.errors import Unavailable
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.control_plane.readiness import Readiness


@get("/health", operation_id="health")
async def health() -> dict[str, str]:
    """200 as long as the process answers at all."""
    return {"status": "alive"}


@get("/ready", operation_id="ready")
async def ready(readiness: NamedDependency[Readiness], indexes: NamedDependency[Indexes]) -> Response[dict[str, Any]]:
    """200 once storage is open and the models are loaded; until then 503 with the reason.

    503 too while the file of API keys cannot be read. Tells index by index what it waits for, and what was set aside;
    without the server's key only how many cannot be used.
    """
    readiness.check()
    readiness.check_keys()
    told: dict[str, Any] = {}
    if states := indexes.states():
        told["indexes"] = states
    if number := indexes.unusable_count():
        told |= {"unusable_indexes": number, "unusable": indexes.unusable()}
    if number := indexes.set_aside_count():
        told |= {"set_aside_folders": number, "set_aside": indexes.set_aside()}
    try:
        readiness.check_models()
    except Unavailable as error:
        status, body, headers = wire("/ready", error)
        return Response({**msgspec.to_builtins(body), **told}, status_code=status, headers=headers)
    return Response({"status": "ready", **told})


@get("/recall", operation_id="recall")
async def recall(indexes: NamedDependency[Indexes]) -> list[RecallSample]:
    """How many of the best the approximate searches found, by index and namespace, as sampled since the start."""
    return indexes.recall()


router = Router("/", route_handlers=[health, ready, recall])
