"""The overview page: indexes, models, how fast requests were, and jobs."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency

from pinyon import metrics
from pinyon.auth import permissions
from pinyon.auth.permissions import GRANT
from pinyon.console import paths
from pinyon.console.charts import chart, in_words
from pinyon.console.pages import AnyRequest, page
from pinyon.services.inference.inference import Inference
from pinyon.services.overview.history import History
from pinyon.services.overview.overview import Overview

SHARES = {"half within": 0.5, "95 % within": 0.95, "99 % within": 0.99}
CHARTED = 2
"""How many of the shares have a line in a chart."""
STAGES = {
    "queue": "Waiting for a model",
    "embed_query": "Embedding queries",
    "embed_passage": "Embedding texts to store",
    "search": "Searching",
    "rerank": "Reranking",
    "write": "Writing",
}
"""Parts of requests in words, in the order of a request."""


@get(paths.OVERVIEW, operation_id="pinyon_console_overview")
async def overview_page(
    request: AnyRequest,
    overview: NamedDependency[Overview],
    history: NamedDependency[History],
    inference: NamedDependency[Inference],
) -> Response[str]:
    """What the server is and does."""
    permissions.check("read")
    whole = not GRANT.get().limited
    return page(
        request,
        "overview.html",
        title="Overview",
        active="overview",
        indexes=await overview.indexes(),
        unusable=overview.unusable(),
        jobs=await overview.jobs(),
        models=inference.known_models(),
        numbers=_numbers(history, overview) if whole else None,
        in_words=in_words,
    )


def _numbers(history: History, overview: Overview) -> dict[str, Any]:
    """Charts and percentiles, which are of all indexes together."""
    stages = [stage for stage in STAGES if stage in history.stages()]
    shares = list(SHARES.values())
    charts = [
        chart("Searches", ["now"], history.rates("search"), "a second"),
        chart("Writes", ["now"], history.rates("write"), "a second"),
        chart("Memory", ["resident"], history.memory(), "B"),
        chart("Measured recall", ["approximate searches"], history.recall(), "share", top=1.0),
        *(
            chart(STAGES[stage], list(SHARES)[:CHARTED], history.seconds(stage, shares[:CHARTED]), "s")
            for stage in stages
        ),
    ]
    rows, free = [], overview.disk_free()
    for stage in stages:
        count, seconds = history.overall(stage, shares)
        rows.append((STAGES[stage], count, ["-" if value is None else in_words(value, "s") for value in seconds]))
    return {
        "charts": charts,
        "shares": list(SHARES),
        "stages": rows,
        "memory": in_words(metrics.resident_bytes(), "B"),
        "disk_free": "" if free is None else in_words(free, "B"),
    }


handlers = [overview_page]
