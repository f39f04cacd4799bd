"""The columns of the search page: which there are for an index, and running their searches side by side."""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from pinyon.console import filter_text
from pinyon.console.search import address
from pinyon.console.search.address import PageSearch
from pinyon.domain import Index, Retrieval
from pinyon.errors import PermissionDenied, PinyonError
from pinyon.services.data_plane.records.records import Records, SearchResult
from pinyon.services.data_plane.records.reranking import Rerank
from pinyon.services.data_plane.records.searches import Search
from pinyon.settings import LimitSettings

EXPLAINED = {
    "dense": "By meaning: the vectors of query and text.",
    "lexical": "By words: BM25.",
    "hybrid": "By meaning and words together.",
    "terms": "By the terms of the model of this index.",
    "nearest": "The vectors that are nearest.",
}
RETRIEVALS: dict[str, Retrieval] = {"dense": "dense", "lexical": "lexical", "hybrid": "hybrid"}


class Column(msgspec.Struct, frozen=True):
    """A way to search, and what it answered. result: None if there is a problem, which says why in words.

    milliseconds: of the whole search. top_k: how many hits it may show.
    """

    name: str
    about: str
    search: Search
    top_k: int
    result: SearchResult | None = None
    problem: str | None = None
    milliseconds: float = 0.0


def names(index: Index, search: PageSearch) -> tuple[str, ...]:
    """The columns of a search."""
    embed = index.spec.embed
    if embed is None or search.id or search.vector.strip():
        return ("nearest",)
    if index.spec.sparse:
        return tuple(name for name in ("terms", "reranked") if name == "terms" or name in search.show)
    return search.show


def planned(index: Index, search: PageSearch, reranker: str, limits: LimitSettings) -> list[Column]:
    """The columns before they are searched. reranker: the model of the column `reranked`. Raises InvalidArgument."""
    shown = names(index, search)
    most = min(limits.top_k, address.MOST_CARDS // len(shown))
    top_k = address.number(search.top_k, "The number of hits", min(address.TOP_K, most), most)
    depth = max(top_k, address.number(search.depth, "The number of hits to rerank", address.DEPTH, address.MOST_DEPTH))
    plain = Search(
        top_k,
        text=search.text if search.text.strip() else None,
        id=search.id or None,
        vector=address.parsed_vector(search.vector),
        filter=filter_text.parsed(search.filter),
        explain=True,
    )
    columns = []
    for name in shown:
        if name == "reranked":
            rerank = Rerank(reranker, top_n=top_k, parameters={"truncate": "END"})
            retrieval: Retrieval | None = None if index.spec.sparse else "hybrid"
            asked = msgspec.structs.replace(plain, top_k=depth, retrieval=retrieval, rerank=rerank)
            about = f"The best {depth} hits of the column before, read again by {reranker}."
        else:
            asked = msgspec.structs.replace(plain, retrieval=RETRIEVALS.get(name))
            about = EXPLAINED[name]
        columns.append(Column(name, about, asked, top_k))
    return columns


async def answered(records: Records, index: Index, namespace: str, columns: Sequence[Column]) -> list[Column]:
    """The columns with their hits; their searches run at the same time.

    A search that fails leaves its column without hits, with the problem. Raises PermissionDenied.
    """

    async def answer(column: Column) -> Column:
        begun = time.perf_counter()
        try:
            result = await records.search(index, namespace, column.search)
        except PermissionDenied:
            raise
        except PinyonError as error:
            return msgspec.structs.replace(column, problem=error.message)
        milliseconds = (time.perf_counter() - begun) * 1000
        return msgspec.structs.replace(column, result=result, milliseconds=milliseconds)

    return list(await asyncio.gather(*(answer(column) for column in columns)))
