"""Routes for health, readiness and measured recall."""

from typing import Any

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency

from pinyon.api.rest.errors import wire
from pinyon.domain import RecallSample
from pinyon.errors import Unavailable
from pinyon.services.control_plane.index_status import IndexStatus
from pinyon.services.control_plane.readiness import Readiness


@get("/health", operation_id="health")
async def health() -> dict[str, str]:
    """Returns 200 while the process can answer."""
    return {"status": "alive"}


@get("/ready", operation_id="ready")
async def ready(
    readiness: NamedDependency[Readiness], index_status: NamedDependency[IndexStatus]
) -> Response[dict[str, Any]]:
    """Returns 200 when storage is open and the models are loaded; before that, 503 with the reason.

    Also returns 503 while the API keys cannot be read, or the database does not answer. The response lists what each
    index waits for, and which files were set aside. Without an API key it shows only how many indexes cannot be used.
    """
    readiness.check()
    readiness.check_keys()
    readiness.check_storage()
    details: dict[str, Any] = {}
    if states := index_status.states():
        details["indexes"] = states
    if number := index_status.unusable_count():
        details |= {"unusable_indexes": number, "unusable": index_status.unusable()}
    if number := index_status.set_aside_count():
        details |= {"set_aside_folders": number, "set_aside": index_status.set_aside()}
    try:
        readiness.check_models()
    except Unavailable as error:
        code, body, headers = wire("/ready", error)
        return Response({**msgspec.to_builtins(body), **details}, status_code=code, headers=headers)
    return Response({"status": "ready", **details})


@get("/recall", operation_id="recall")
async def recall(index_status: NamedDependency[IndexStatus]) -> list[RecallSample]:
    """The recall of approximate searches by index and namespace, measured on samples since the start."""
    return index_status.recall()


router = Router("/", route_handlers=[health, ready, recall])
