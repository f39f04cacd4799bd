"""The search page, and the check of a filter while it is typed."""

from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from pinyon.auth import permissions
from pinyon.auth.permissions import GRANT
from pinyon.console import filter_text, page_weight, paths
from pinyon.console.namespace_choice import NamespaceChoice, chosen_namespace
from pinyon.console.page_weight import address_bytes, html_bytes
from pinyon.console.pages import AnyRequest, chosen_index, page
from pinyon.console.rerankers import reranker_names
from pinyon.console.search import address, cards, code_samples, columns, rank_chart
from pinyon.console.search.address import PageSearch
from pinyon.console.search.cards import Card
from pinyon.console.search.code_samples import CodeSample
from pinyon.console.search.columns import Column
from pinyon.console.search.marking import QueryWords
from pinyon.domain import Index
from pinyon.errors import InvalidArgument
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.data_plane.namespaces import Namespaces
from pinyon.services.data_plane.records.records import Records
from pinyon.services.inference.inference import Inference
from pinyon.services.judgements.judgements import Judgements
from pinyon.settings import LimitSettings

HITS_BYTES, SAMPLES_BYTES = 120_000, 20_000
"""What hits and requests to copy may take on a page together, and the requests alone."""
REPEATED = 5
"""How often a page repeats what is in its address: in forms and in links."""


@get(paths.ROOT, operation_id="pinyon_console_search")
async def search(
    request: AnyRequest,
    indexes: NamedDependency[Indexes],
    namespaces: NamedDependency[Namespaces],
    records: NamedDependency[Records],
    inference: NamedDependency[Inference],
    judgements: NamedDependency[Judgements],
    limits: NamedDependency[LimitSettings],
) -> Response[str]:
    """Search an index in several ways side by side."""
    permissions.check("read")
    index = chosen_index(request, indexes)
    if index is None:
        return page(request, "search_empty.html", title="Search", active="search")
    choice = await chosen_namespace(request, index, namespaces)
    permissions.check("read", index.handle, choice.name)
    asked = address.read(index, choice.name, request.query_params, request.query_params.getall("show", []))
    models = reranker_names(inference)
    reranker = asked.reranker or models[0]
    answered: list[Column] = []
    grades: dict[str, int] = {}
    problem = None
    try:
        if asked.asks:
            plan = columns.planned(index, asked, reranker, limits)
            answered = await columns.answered(records, index, choice.name, plan)
            grades = await judgements.of_query(index, choice.name, asked.text)
    except InvalidArgument as error:
        problem = error.message
    return _page(request, indexes, index, choice, asked, (models, reranker), answered, grades, problem)


def _page(
    request: AnyRequest,
    indexes: Indexes,
    index: Index,
    choice: NamespaceChoice,
    asked: PageSearch,
    rerankers: tuple[list[str], str],
    answered: list[Column],
    grades: dict[str, int],
    problem: str | None,
) -> Response[str]:
    """The page. rerankers: all of them, and the chosen one. grades: of records for this query, by id.

    problem: of the search as a whole, in words.
    """
    embed, fields = index.spec.embed, address.parsed_fields(asked.fields)
    words = QueryWords(asked.text, embed.analysis) if embed is not None and asked.text.strip() else None
    samples = _samples(request, indexes, index, choice, answered, fields)
    room = HITS_BYTES - REPEATED * sum(address_bytes(value) for _, value in asked.parameters(vector=""))
    room -= sum(html_bytes(sample.code) for of_column in samples for sample in of_column)
    text_field = None if embed is None else embed.text_field
    shown = cards.of_columns(answered, words, text_field, fields, choice.name, room)
    return page(
        request,
        "search.html",
        title=f"{asked.text.strip()[:60]} · Search" if asked.text.strip() else "Search",
        active="search",
        index=index,
        every_index=indexes.all(),
        status=200 if problem is None else 400,
        asked=asked,
        choice=choice,
        rerankers=rerankers[0],
        reranker=rerankers[1],
        problem=problem,
        columns=list(zip(answered, shown, samples, strict=True)),
        chart=rank_chart.of_cards(shown),
        every_column=address.COLUMNS,
        by_text=embed is not None,
        most=address.MOST_CARDS // len(columns.names(index, asked)),
        usual=address.TOP_K,
        usual_depth=address.DEPTH,
        most_depth=address.MOST_DEPTH,
        like=asked.parameters(text="", vector="", id=""),
        label=_moved,
        record=paths.RECORD,
        grades=grades,
        judge=paths.JUDGE,
        may_judge=embed is not None and bool(asked.text.strip()) and "write" in GRANT.get().scopes,
    )


def _samples(
    request: AnyRequest,
    indexes: Indexes,
    index: Index,
    choice: NamespaceChoice,
    answered: list[Column],
    fields: list[str] | None,
) -> list[list[CodeSample]]:
    url = indexes.url(index, request.headers.get("host"))
    room = SAMPLES_BYTES // max(1, len(answered))
    return [code_samples.of_search(index, url, choice.name, column.search, fields, room) for column in answered]


def _moved(card: Card) -> str:
    """How a hit moved against the column before, in words."""
    if card.moved is None:
        return "new"
    if card.moved == 0:
        return "same"
    return f"{'up' if card.moved > 0 else 'down'} {abs(card.moved)}"


@get(paths.CHECK_FILTER, operation_id="pinyon_console_check_filter")
async def check_filter(text: Annotated[str, QueryParameter(name="filter")] = "") -> dict[str, str | None]:
    """Say what is wrong with a filter that somebody types."""
    permissions.check("read")
    try:
        filter_text.parsed(text)
        page_weight.check_address([("filter", text)])
    except InvalidArgument as error:
        return {"problem": error.message}
    return {"problem": None}


handlers = [search, check_filter]
