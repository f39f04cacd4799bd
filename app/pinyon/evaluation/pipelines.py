"""Searches a collection with each pipeline, through the services of a server, in a temporary data folder."""

import asyncio
import tempfile
from collections.abc import Sequence
from typing import Any

import msgspec
from tqdm import tqdm

from pinyon.domain import Index
from pinyon.errors import FailedPrecondition
from pinyon.evaluation.asking import Pipeline, ask
from pinyon.evaluation.collection import Collection
from pinyon.evaluation.measures import quantiles, values
from pinyon.server import Service
from pinyon.services.control_plane.addresses import Addresses
from pinyon.settings import IndexSettings, Settings

NAME, TEXT = "pinyon-eval", "text"
"""The temporary index, and its text field."""


class Outcome(msgspec.Struct, frozen=True):
    """The result of a pipeline.

    values: by measure, one per query. times: p50 and p95 in ms. computed_by: labels of the models.
    """

    pipeline: str
    values: dict[str, list[float]]
    times: dict[str, float]
    computed_by: list[str]


async def run(settings: Settings, collection: Collection, wanted: Sequence[Pipeline]) -> list[Outcome]:
    """Store the collection and search for every query with each pipeline.

    The embedding model and the language are those of the [index] table, or the defaults. Raises PinyonError as the
    services do, for example if a model cannot answer.
    """
    with tempfile.TemporaryDirectory(prefix="pinyon-eval-") as folder:
        of_user = settings.index or IndexSettings(NAME, model="all-MiniLM-L6-v2")
        if not of_user.model:
            raise FailedPrecondition("The [index] table names no embedding model; there is nothing to evaluate")
        index_settings = msgspec.structs.replace(of_user, name=NAME, field_map={"text": TEXT})
        storage = msgspec.structs.replace(settings.storage, engine="sqlite", data_dir=folder)
        service = Service(
            msgspec.structs.replace(settings, index=index_settings, storage=storage), Addresses("127.0.0.1", port=0)
        )
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with service.running(lambda: begun.set_result(None), begun.set_exception):
            await begun
            index = service.parts.indexes.index(NAME)
            if index.spec.sparse:
                wanted = [pipeline for pipeline in wanted if pipeline.retrieval == "dense"]
            await _store(service, index, collection)
            return [await _ask(service, index, collection, pipeline) for pipeline in wanted]


async def _store(service: Service, index: Index, collection: Collection) -> None:
    most = service.settings.limits.records_per_upsert
    rows: list[dict[str, Any]] = [{"_id": id, TEXT: text} for id, text in collection.documents]
    with tqdm(total=len(rows), desc=f"{collection.name}: upsert", unit="doc", leave=False, disable=None) as bar:
        for start in range(0, len(rows), most):
            await service.parts.records.upsert(index, collection.name, rows[start : start + most])
            bar.update(len(rows[start : start + most]))


async def _ask(service: Service, index: Index, collection: Collection, pipeline: Pipeline) -> Outcome:
    described, queries = f"{collection.name}: {pipeline.name}", collection.queries
    with tqdm(total=len(queries), desc=described, leave=False, disable=None) as bar:
        answers = await ask(service.parts.records, index, collection.name, queries, pipeline, bar.update)
    measured = values(answers.ranked, collection.grades)
    return Outcome(pipeline.name, measured, quantiles(answers.times), answers.computed_by)
