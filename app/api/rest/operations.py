"""What those who run a server ask: GET /metrics, as Prometheus reads it."""

from collections.abc import Awaitable, Callable

from litestar import Response, Router, get
from litestar.di import NamedDependency

from app.metrics import CONTENT_TYPE
from app.permissions import check_unlimited


@get("/metrics", operation_id="metrics")
async def metrics(measures: NamedDependency[Callable[[], Awaitable[bytes]]]) -> Response[bytes]:
    """Counts and times since the start, and what there is now."""
    check_unlimited()
    return Response(await measures(), headers={"content-type": CONTENT_TYPE})


router = Router("/", route_handlers=[metrics])
