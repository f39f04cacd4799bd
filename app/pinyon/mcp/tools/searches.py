"""Tools that search one namespace, and explain a hit."""

from pinyon.domain import Index
from pinyon.errors import NotFound
from pinyon.mcp import arguments, results
from pinyon.mcp.shortening import ANSWER_CHARACTERS, VALUE_CHARACTERS, fitting, names, short_fields
from pinyon.mcp.tool import Services, Tool
from pinyon.mcp.tools.indexes import text_index
from pinyon.services.data_plane.records.records import SearchResult
from pinyon.services.data_plane.records.reranking import Rerank
from pinyon.services.data_plane.records.searches import Search
from pinyon.services.inference import model_parameters

DEEP = 1_000
"""Hits among which explain-hit looks for a record that is none of the topK."""
MOST_NOTED = 10
"""Ids that a note names."""


async def search_records(services: Services, given: arguments.SearchRecords) -> results.SearchResult:
    """Search a namespace by text, and rerank the hits."""
    index = text_index(services, given.name)
    search = search_of(given.query, rerank_of(services, given.rerank), fields=given.fields)
    result = await services.records.search(index, given.namespace, search)
    hits, notes = shown_hits(result, given.skip)
    if not result.hits:
        notes += await why_nothing(services, index, given.namespace, given.query)
    if result.truncated:
        notes.append("The query is longer than the model reads; its end had no effect.")
    return results.SearchResult(
        results.Hits(hits),
        results.Usage(result.usage.read_units, result.usage.embed_tokens, result.usage.rerank_units),
        result.models,
        notes,
    )


def search_of(
    query: arguments.Query,
    rerank: Rerank | None,
    fields: list[str] | None = None,
    top_k: int | None = None,
    explain: bool = False,
) -> Search:
    """The search that a query asks for. top_k: in place of the query's."""
    return Search(
        top_k=top_k or query.top_k,
        text=query.inputs.text,
        retrieval=query.inputs.retrieval,
        filter=query.filter,
        fields=fields,
        explain=explain,
        rerank=rerank,
    )


def rerank_of(services: Services, options: arguments.RerankOptions | None) -> Rerank | None:
    """How hits are reranked. Raises NotFound for an unknown model."""
    if options is None:
        return None
    parameters = rerank_parameters(services, options.model)
    return Rerank(options.model, options.rank_fields, options.top_n, options.query, parameters)


def rerank_parameters(services: Services, model: str) -> dict[str, str]:
    """Cuts texts that are longer than the model reads, if it has that choice: agents do not know how long they are."""
    parameters = model_parameters.parameters_of(services.catalog.entry(model, "rerank"))
    return {"truncate": "END"} if any(parameter.name == "truncate" for parameter in parameters) else {}


def shown_hits(result: SearchResult, skip: int) -> tuple[list[results.Hit], list[str]]:
    """The hits that fit into an answer, and notes about what was cut."""
    rows = []
    for match in result.hits[skip:]:
        fields, cut = short_fields(match.metadata)
        rows.append((results.Hit(match.id, match.score, fields), cut))
    shown = fitting(rows, lambda row: row[0])
    notes = []
    if len(shown) < len(rows):
        notes.append(
            f"Hits {skip + 1} to {skip + len(shown)} of {len(result.hits)} are shown, because an answer has at most "
            f"{ANSWER_CHARACTERS:,} characters. For the next ones, repeat the call with skip: {skip + len(shown)}, or "
            "name in `fields` only what you need."
        )
    elif skip and not rows:
        notes.append(f"The search has {len(result.hits)} hits, and skip leaves out {skip}. Raise topK to find more.")
    cut_ids = [row.id for row, cut in shown if cut]
    if cut_ids:
        notes.append(
            f"Values with more than {VALUE_CHARACTERS:,} characters are cut, in records {names(cut_ids, MOST_NOTED)}. "
            "fetch-records shows more of them."
        )
    return [row for row, _ in shown], notes


async def why_nothing(services: Services, index: Index, namespace: str, query: arguments.Query) -> list[str]:
    """What an agent can do if a search has no hits."""
    try:
        info = await services.namespaces.describe(index, namespace)
    except NotFound:
        page = await services.namespaces.list(index, None, None, None)
        having = names([each.name for each in page.namespaces])
        return [f"Index {index.name} has no namespace '{namespace[:80]}'. It has: {having or 'none'}."]
    if info.record_count == 0:
        return ["The namespace has no records."]
    if query.filter is not None:
        return [
            f"None of the {info.record_count:,} records was found. Check the filter: facet-values shows the values "
            "that a field has."
        ]
    return ["No record has a word of the query. Search with retrieval 'dense' or 'hybrid', or with other words."]


async def explain_hit(services: Services, given: arguments.ExplainHit) -> results.Explanation:
    """Where a record is among the hits of a search, and why. Raises NotFound if there is no such record."""
    index = text_index(services, given.name)
    if not (await services.vectors.fetch(index, given.namespace, [given.id])).records:
        raise NotFound(f"There is no record '{given.id[:80]}' in namespace '{given.namespace or '__default__'}'")
    search = search_of(given.query, rerank_of(services, given.rerank), fields=[], explain=True)
    result = await services.records.search(index, given.namespace, search)
    ids = [match.id for match in result.hits]
    if given.id in ids:
        return _explained(result, ids.index(given.id), [])
    deep = min(DEEP, services.limits.top_k)
    notes = [f"The record is none of the {len(ids)} hits."]
    without = await services.records.search(
        index, given.namespace, search_of(given.query, None, fields=[], top_k=deep, explain=True)
    )
    places = [match.id for match in without.hits]
    if given.id in places:
        place = places.index(given.id)
        before = " before reranking" if given.rerank is not None else ""
        notes.append(f"With a larger topK it is at place {place + 1}{before}; score and parts are those there.")
        return _explained(without, place, notes, rank=None, hits=len(ids))
    filtered = "The filter may exclude it; search again without it. " if given.query.filter is not None else ""
    lexical = "Or it has no word of the query." if given.query.inputs.retrieval == "lexical" else ""
    notes.append(f"It is not among the first {len(places):,} either. {filtered}{lexical}".strip())
    return results.Explanation(given.id, None, len(ids), models=result.models, notes=notes)


def _explained(
    result: SearchResult, place: int, notes: list[str], rank: int | None = 0, hits: int | None = None
) -> results.Explanation:
    """rank: 0 for the place in `result`. hits: None for the hits of `result`."""
    match = result.hits[place]
    best, above = result.hits[0], result.hits[place - 1] if place else None
    return results.Explanation(
        match.id,
        place + 1 if rank == 0 else rank,
        len(result.hits) if hits is None else hits,
        match.score,
        match.metadata.get("_explain", {}),
        results.Hit(best.id, best.score, {}),
        None if above is None else results.Hit(above.id, above.score, {}),
        result.models,
        notes,
    )


TOOLS = [
    Tool(
        "search-records",
        "Search records",
        "Search a namespace of an index for records that fit a text, best first: by meaning, by words or by both; with "
        "a filter, and reranked if you like. Only for indexes that embed text. Long values are cut; fetch-records "
        "shows them whole.",
        arguments.SearchRecords,
        results.SearchResult,
        search_records,
    ),
    Tool(
        "explain-hit",
        "Explain a hit",
        "Explain why a record is where it is among the hits of a search, or why it is none of them. Give the query of "
        "search-records again, and the id of the record.",
        arguments.ExplainHit,
        results.Explanation,
        explain_hit,
    ),
]
