"""The page of judgements: what was marked, an export of it, and how well searches rank by it."""

import re
from typing import cast, get_args

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency

from pinyon.auth import permissions
from pinyon.auth.permissions import GRANT
from pinyon.console import paths
from pinyon.console.namespace_choice import chosen_namespace
from pinyon.console.page_weight import address_bytes, first_within, html_bytes
from pinyon.console.pages import HEADERS, AnyRequest, chosen_index, named_index, page, parameter, redirect
from pinyon.console.rerankers import reranker_names
from pinyon.domain import DEFAULT_NAMESPACE
from pinyon.errors import InvalidArgument, NotFound
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.data_plane.namespaces import Namespaces
from pinyon.services.inference.inference import Inference
from pinyon.services.judgements import files
from pinyon.services.judgements.files import JudgedQuery
from pinyon.services.judgements.judgements import Judgements, Mark
from pinyon.services.judgements.measurements import Measurements

QUERIES, RECORDS = 30, 20
"""Judged queries on a page, and records of a query that are shown, at most."""
QUERIES_BYTES, IDS_BYTES = 100_000, 20_000
"""What all queries may take on a page, and the good or the bad records of one."""
REFRESH_S = "2"
"""Seconds after which the page of a running measurement is loaded again."""
CARD = re.compile(r"\d+-\d+")


class ShownQuery(msgspec.Struct, frozen=True):
    """A judged query as a page shows it. marked: good and bad records, and how many more there are.

    bytes: what it takes.
    """

    text: str
    marked: list[tuple[bool, list[str], int]]
    bytes: int


@get(paths.JUDGE, operation_id="pinyon_console_judge")
async def judge(
    request: AnyRequest,
    indexes: NamedDependency[Indexes],
    namespaces: NamedDependency[Namespaces],
    judgements: NamedDependency[Judgements],
    measurements: NamedDependency[Measurements],
    inference: NamedDependency[Inference],
) -> Response[str]:
    """List the judged queries of a namespace, and show the last measurement."""
    permissions.check("read")
    index = chosen_index(request, indexes)
    if index is None or index.spec.embed is None:
        return page(request, "judge_empty.html", title="Judge", active="judge", index=index, every_index=indexes.all())
    choice = await chosen_namespace(request, index, namespaces)
    queries = list((await judgements.all(index, choice.name)).values())
    last = await measurements.last(index, choice.name)
    number = parameter(request, "first")
    first = int(number) if re.fullmatch(r"[0-9]{1,4}", number) else 0
    shown = [_shown(query, choice.name) for query in queries[first : first + QUERIES]]
    shown = first_within(shown, QUERIES_BYTES, lambda query: query.bytes) or shown[:1]
    response = page(
        request,
        "judge.html",
        title="Judge",
        active="judge",
        index=index,
        every_index=indexes.all(),
        choice=choice,
        queries=shown,
        total=len(queries),
        measurable=sum(bool(query.ids(True)) for query in queries),
        next_query=first + len(shown) if len(queries) > first + len(shown) else None,
        last=last,
        may_write="write" in GRANT.get().scopes,
        rerankers=reranker_names(inference),
        judge=paths.JUDGE,
    )
    if last is not None and last.running:
        response.set_header("refresh", REFRESH_S)
    return response


def _shown(query: JudgedQuery, namespace: str) -> ShownQuery:
    """As much of a query as a page has room for. An id stands in a page three times, once in an address."""

    def weight(id: str) -> int:
        return address_bytes(namespace) + address_bytes(id) + 2 * html_bytes(id)

    marked, taken = [], 3 * (address_bytes(namespace) + address_bytes(query.text))
    for is_good in (True, False):
        ids = query.ids(is_good)
        some = first_within(ids[:RECORDS], IDS_BYTES, weight)
        marked.append((is_good, some, len(ids) - len(some)))
        taken += sum(map(weight, some))
    return ShownQuery(query.text, marked, taken)


@post(f"{paths.JUDGE}/mark", operation_id="pinyon_console_mark", status_code=303)
async def mark(
    request: AnyRequest, indexes: NamedDependency[Indexes], judgements: NamedDependency[Judgements]
) -> Response[str]:
    """Mark a record for a query, and go back to the page with the form.

    The form has a field named as the mark. Its value is the place of the hit on the page, a space, and the record's id.
    """
    index, namespace = named_index(request, indexes), parameter(request, "namespace") or DEFAULT_NAMESPACE
    permissions.check("read", index.handle, namespace)
    form = await request.form()
    marks = [name for name in get_args(Mark) if name in form]
    if len(marks) != 1:
        raise InvalidArgument(f"A judgement is one of {', '.join(get_args(Mark))}")
    card, _, id = str(form[marks[0]]).partition(" ")
    await judgements.mark(index, namespace, parameter(request, "q"), id, cast(Mark, marks[0]))
    anchor = f"#hit-{card}" if CARD.fullmatch(card) else ""
    return redirect(paths.local_target(str(form.get("next", paths.JUDGE))).partition("#")[0] + anchor)


@post(f"{paths.JUDGE}/measure", operation_id="pinyon_console_measure", status_code=303)
async def measure(
    request: AnyRequest,
    indexes: NamedDependency[Indexes],
    measurements: NamedDependency[Measurements],
    inference: NamedDependency[Inference],
) -> Response[str]:
    """Begin to measure how well searches rank."""
    index, namespace = named_index(request, indexes), parameter(request, "namespace") or DEFAULT_NAMESPACE
    permissions.check("read", index.handle, namespace)
    form = await request.form()
    await measurements.start(index, namespace, str(form.get("rerank") or reranker_names(inference)[0]))
    return redirect(paths.address(paths.JUDGE, index=index.name, namespace=namespace))


@get(f"{paths.JUDGE}/export", operation_id="pinyon_console_export_judgements")
async def export(
    request: AnyRequest, indexes: NamedDependency[Indexes], judgements: NamedDependency[Judgements]
) -> Response[bytes]:
    """The judgements of a namespace in BEIR layout, as a ZIP file."""
    index, namespace = named_index(request, indexes), parameter(request, "namespace") or DEFAULT_NAMESPACE
    queries = await judgements.all(index, namespace)
    if not queries:
        raise NotFound("This namespace has no judgements")
    headers = HEADERS | {"content-disposition": f'attachment; filename="judgements-{index.name}.zip"'}
    return Response(files.archive(queries), media_type="application/zip", headers=headers)


handlers = [judge, mark, measure, export]
