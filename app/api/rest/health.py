"""Is it alive, can it answer, how good are the answers."""

from typing import Any

from litestar import Router, get
from litestar.di import NamedDependency

from app.domain import RecallSample
from app.services.indexes import Indexes
from app.services.readiness import Readiness


@get("/health", operation_id="health")
async def health() -> dict[str, str]:
    """200 as long as the process answers at all."""
    return {"status": "alive"}


@get("/ready", operation_id="ready")
async def ready(readiness: NamedDependency[Readiness], indexes: NamedDependency[Indexes]) -> dict[str, Any]:
    """200 once storage is open and the models are loaded; until then 503 with the reason.

    Says which indexes cannot be used although the others can, and why; without the server's key only how many.
    """
    readiness.check()
    number, told = indexes.unusable_count(), indexes.unusable()
    return {"status": "ready"} | ({"unusable_indexes": number, "unusable": told} if number else {})


@get("/recall", operation_id="recall")
async def recall(indexes: NamedDependency[Indexes]) -> list[RecallSample]:
    """How many of the best the approximate searches found, by index and namespace, as sampled since the start."""
    return indexes.recall()


router = Router("/", route_handlers=[health, ready, recall])
