"""Tools that rerank: documents of the caller, and the hits of several namespaces together."""

import asyncio
from collections.abc import Sequence
from typing import Any

from pinyon.domain import Match
from pinyon.errors import InvalidArgument, PinyonError
from pinyon.mcp import arguments, results
from pinyon.mcp.shortening import ANSWER_CHARACTERS, VALUE_CHARACTERS, fitting, names, short_fields
from pinyon.mcp.tool import Services, Tool
from pinyon.mcp.tools.indexes import text_index
from pinyon.mcp.tools.searches import rerank_parameters, search_of

FoundRecord = tuple[arguments.SearchedIndex, Match]


async def rerank_documents(services: Services, given: arguments.RerankDocuments) -> results.RerankResult:
    """Rank documents by their relevance to a query."""
    services.readiness.check_models()
    documents: list[dict[str, Any]] = [
        {"text": document} if isinstance(document, str) else document for document in given.documents
    ]
    fields = given.options.rank_fields or ["text"]
    ranked = await services.inference.rerank_by_name(
        given.model, rerank_parameters(services, given.model), given.query, documents, fields, given.options.top_n
    )
    rows = [_ranked(place, score, documents[place]) for place, score in ranked.ranking]
    shown, notes = _fitting(rows, "Each has its `index`, the position in your list.")
    return results.RerankResult(ranked.label, shown, results.Usage(rerank_units=ranked.units), notes)


async def cascading_search(services: Services, given: arguments.CascadingSearch) -> results.RerankResult:
    """Search several namespaces, and rerank all hits together. Raises the first error if no search succeeds."""
    permitted = list(dict.fromkeys((each.name, each.namespace) for each in given.indexes))
    call = services.inference.rerank_call(given.rerank.model, None)
    outcomes = await asyncio.gather(
        *(_search(services, arguments.SearchedIndex(*each), given.query) for each in permitted), return_exceptions=True
    )
    notes: list[str] = []
    failures: list[PinyonError] = []
    lists: list[list[FoundRecord]] = []
    for (name, namespace), outcome in zip(permitted, outcomes, strict=True):
        if isinstance(outcome, PinyonError):
            failures.append(outcome)
            notes.append(f"Not searched: index {name}, namespace '{namespace or '__default__'}': {outcome.message}")
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            lists.append(outcome)
    if not lists:
        raise failures[0]
    records = _merged(lists)
    fields = given.rerank.rank_fields or [_text_field(services, permitted)]
    readable = [row for row in records if all(isinstance(row[1].metadata.get(field), str) for field in fields)]
    if len(readable) < len(records):
        left = len(records) - len(readable)
        notes.append(f"{left} hits were left out, because they have no text in the field {names(fields)}.")
    if len(readable) > call.max_documents:
        notes.append(
            f"The best {call.max_documents} of {len(readable)} hits were reranked; model '{call.model}' takes no more. "
            "Lower topK."
        )
        readable = readable[: call.max_documents]
    if not readable:
        return results.RerankResult(call.answer.label, [], results.Usage(), [*notes, "There are no hits."])
    query = given.query.inputs.text if given.rerank.query is None else given.rerank.query
    parameters = rerank_parameters(services, given.rerank.model)
    documents = [match.metadata for _, match in readable]
    ranked = await services.inference.rerank_by_name(
        given.rerank.model, parameters, query, documents, fields, given.rerank.top_n or given.query.top_k
    )
    rows = []
    for place, score in ranked.ranking:
        source, match = readable[place]
        rows.append(
            _ranked(place, score, match.metadata, match.id, f"{source.name}/{source.namespace or '__default__'}")
        )
    shown, cut = _fitting(rows, "Lower topN, or fetch further records by their ids.")
    return results.RerankResult(ranked.label, shown, results.Usage(rerank_units=ranked.units), [*notes, *cut])


async def _search(services: Services, source: arguments.SearchedIndex, query: arguments.Query) -> list[FoundRecord]:
    index = text_index(services, source.name)
    result = await services.records.search(index, source.namespace, search_of(query, None))
    return [(source, match) for match in result.hits]


def _merged(lists: Sequence[Sequence[FoundRecord]]) -> list[FoundRecord]:
    """All hits, the best of each search first, then the second ones; of equal ids only the first one."""
    by_id: dict[str, FoundRecord] = {}
    for rank in range(max(map(len, lists))):
        for hits in lists:
            if rank < len(hits):
                by_id.setdefault(hits[rank][1].id, hits[rank])
    return list(by_id.values())


def _text_field(services: Services, searched: Sequence[tuple[str, str]]) -> str:
    """The field that the indexes embed. Raises InvalidArgument if they embed different ones."""
    embeds = {index.name: index.spec.embed for index in services.indexes.all()}
    fields = {embed.text_field for name, _ in searched if (embed := embeds.get(name)) is not None}
    if len(fields) != 1:
        raise InvalidArgument(
            f"The indexes embed different fields ({names(sorted(fields))}); name in rerank.rankFields the one to read"
        )
    return next(iter(fields))


def _ranked(
    place: int, score: float, document: dict[str, Any], id: str | None = None, source: str | None = None
) -> tuple[results.RankedDocument, list[str]]:
    fields, cut = short_fields(document)
    return results.RankedDocument(place, score, fields, id, source), cut


def _fitting(
    rows: Sequence[tuple[results.RankedDocument, list[str]]], more: str
) -> tuple[list[results.RankedDocument], list[str]]:
    """The documents that fit into an answer, and notes. more: how to get the others."""
    shown = fitting(rows, lambda row: row[0])
    notes = []
    if len(shown) < len(rows):
        notes.append(
            f"The best {len(shown)} of {len(rows)} documents are shown, because an answer has at most "
            f"{ANSWER_CHARACTERS:,} characters. {more}"
        )
    if any(cut for _, cut in shown):
        notes.append(f"Values with more than {VALUE_CHARACTERS:,} characters are cut.")
    return [row for row, _ in shown], notes


TOOLS = [
    Tool(
        "cascading-search",
        "Search several indexes",
        "Search several indexes or namespaces for records that fit a text. Records with the same id count once, and a "
        "reranking model ranks all of them together. For one namespace, use search-records.",
        arguments.CascadingSearch,
        results.RerankResult,
        cascading_search,
    ),
    Tool(
        "rerank-documents",
        "Rerank documents",
        "Rank documents that you have by their relevance to a query. Of texts that are longer than the "
        "model reads, only the beginning counts. For hits of a search, use `rerank` of search-records.",
        arguments.RerankDocuments,
        results.RerankResult,
        rerank_documents,
    ),
]
