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

    503 too while the file of API keys cannot be read. Says which indexes cannot be used although the others can, and
    why, and what was set aside; without the server's key only how many.
    """
    readiness.check()
    readiness.check_keys()
    answer: dict[str, Any] = {"status": "ready"}
    if number := indexes.unusable_count():
        answer |= {"unusable_indexes": number, "unusable": indexes.unusable()}
    if number := indexes.set_aside_count():
        answer |= {"set_aside_folders": number, "set_aside": indexes.set_aside()}
    return answer


@get("/recall", operation_id="recall")
async def recall(indexes: NamedDependency[Indexes]) -> list[RecallSample]:
    """How many of the best the approximate searches found, by index and namespace, as sampled since the start."""
    return indexes.recall()


router = Router("/", route_handlers=[health, ready, recall])
