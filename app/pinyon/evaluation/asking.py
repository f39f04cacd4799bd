"""Asks judged queries of an index, with each way to search."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from pinyon.domain import Index, Retrieval
from pinyon.errors import InvalidArgument, Unavailable
from pinyon.services.data_plane.records.records import Records
from pinyon.services.data_plane.records.reranking import Rerank
from pinyon.services.data_plane.records.searches import Search

TOP_K = 100
TRIES = 60
"""How often a query is asked while the models are busy."""
RETRIEVALS: tuple[Retrieval, ...] = ("dense", "lexical", "hybrid")


class Pipeline(msgspec.Struct, frozen=True):
    """A way to search. rerank: the model that reranks the best `depth` hits, or None."""

    retrieval: Retrieval
    rerank: str | None = None
    depth: int = TOP_K

    @property
    def name(self) -> str:
        """The name in tables and in --fail-under."""
        return self.retrieval if self.rerank is None else f"{self.retrieval}+{self.rerank}"


class Answers(msgspec.Struct, frozen=True):
    """What a pipeline answered.

    ranked: ids of the hits by query id, best first. times: milliseconds of each query. computed_by: labels of models.
    """

    ranked: dict[str, list[str]]
    times: list[float]
    computed_by: list[str]


def pipelines(rerankers: Sequence[str], depth: int) -> list[Pipeline]:
    """Each retrieval without reranking, and with each of the rerankers."""
    return [Pipeline(kind) for kind in RETRIEVALS] + [
        Pipeline(kind, name, depth) for name in rerankers for kind in RETRIEVALS
    ]


async def ask(
    records: Records,
    index: Index,
    namespace: str,
    queries: Mapping[str, str],
    pipeline: Pipeline,
    answered: Callable[[], object],
) -> Answers:
    """Search a namespace for every query. queries: texts by id. answered: called after each of them.

    Raises PinyonError as the service does.
    """
    ranked: dict[str, list[str]] = {}
    times: list[float] = []
    labels: list[str] = []
    rerank = None
    if pipeline.rerank is not None:
        rerank = Rerank(pipeline.rerank, parameters={"truncate": "END"})
    for id, text in queries.items():
        retrieval = None if index.spec.sparse else pipeline.retrieval
        top_k = TOP_K if rerank is None else pipeline.depth
        search = Search(top_k, text=text, retrieval=retrieval, fields=[], rerank=rerank)
        begun = time.perf_counter()
        for tries_left in reversed(range(TRIES)):
            try:
                result = await records.search(index, namespace, search)
                break
            except InvalidArgument as error:
                raise InvalidArgument(f"{namespace}, query {id}: {error.message}") from error
            except Unavailable as error:  # models are loaded, or busy with the requests of others
                if not tries_left:
                    raise
                await asyncio.sleep(error.retry_after_s)
                begun = time.perf_counter()
        times.append((time.perf_counter() - begun) * 1000)
        ranked[id] = [hit.id for hit in result.hits]
        labels = result.models
        answered()
    return Answers(ranked, times, labels)
