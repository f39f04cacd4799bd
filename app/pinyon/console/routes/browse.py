"""The browse page: the namespaces of an index, and the records of one of them as a table."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from pinyon.auth import permissions
from pinyon.auth.permissions import GRANT
from pinyon.console import filter_text, paths
from pinyon.console.charts import in_words
from pinyon.console.page_weight import address_bytes, first_within, html_bytes, shortened
from pinyon.console.pages import AnyRequest, chosen_index, page, parameter
from pinyon.domain import Facets as FacetCounts
from pinyon.domain import Index, Record
from pinyon.errors import InvalidArgument
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.data_plane.facets import Facets
from pinyon.services.data_plane.namespaces import Namespaces
from pinyon.services.data_plane.vectors import Vectors

ROWS, FACET_VALUES = 25, 20
"""Records of a page, and values of a field that are shown."""
MOST_COLUMNS, MOST_NAMES = 8, 60
"""Columns of the table, and names of fields that can be chosen."""
NAMESPACES = 50
"""Namespaces of a page."""
CELL, LONGEST_LINK = 60, 200
"""Characters of a value that a table shows. Longer values than LONGEST_LINK are no link to a filter."""
CELLS_BYTES, NAMES_BYTES, ROW_LINK_BYTES, FACET_LINK_BYTES = 30_000, 10_000, 2_000, 1_000
"""What all cells and all names of fields may take on a page, and the addresses of one record and of one value."""


class FacetLink(msgspec.Struct, frozen=True):
    """A value of a field. share: of the most frequent value, 0..1. address: the records that have it, if that fits."""

    value: str
    count: int
    share: float
    address: str | None


class View(msgspec.Struct, frozen=True):
    """What the address says about the table. columns: chosen ones; empty for the first fields of the records."""

    index: str
    namespace: str
    filter: str = ""
    columns: list[str] = []
    facet: str = ""
    after: str = ""

    def address(self, **changes: Any) -> str:
        """The address of the same table with some changes. It begins at the first record unless `after` is given."""
        state = msgspec.structs.asdict(self) | {"after": ""} | changes
        state["column"] = state.pop("columns")
        return paths.address(paths.BROWSE, **state)


@get(paths.BROWSE, operation_id="pinyon_console_browse")
async def browse(
    request: AnyRequest,
    indexes: NamedDependency[Indexes],
    namespaces: NamedDependency[Namespaces],
    vectors: NamedDependency[Vectors],
    facets: NamedDependency[Facets],
) -> Response[str]:
    """The namespaces of an index, or the records of one."""
    permissions.check("read")
    index = chosen_index(request, indexes)
    shown: dict[str, Any] = {"active": "browse", "index": index, "every_index": indexes.all()}
    if index is None or not parameter(request, "namespace"):
        after = parameter(request, "after") or None
        listed = None if index is None else await namespaces.list(index, None, NAMESPACES, after)
        return page(request, "browse.html", title="Browse", namespaces=listed, in_words=in_words, **shown)
    view = View(
        index.name,
        parameter(request, "namespace"),
        parameter(request, "filter"),
        [str(name) for name in request.query_params.getall("column", [])][:MOST_COLUMNS],
        parameter(request, "facet"),
        parameter(request, "after"),
    )
    permissions.check("read", index.handle, view.namespace)
    total = await _total(namespaces, index, view.namespace)
    table: dict[str, Any] = {"records": [], "columns": view.columns, "names": view.columns, "next": None}
    problem = None
    try:
        raw = filter_text.parsed(view.filter)
        fetched = await vectors.page(index, view.namespace, raw, ROWS, view.after or None)
        table = _table(fetched.records, view) | {"next": fetched.next}
        if view.facet:
            counted = await facets.count(index, view.namespace, view.facet, raw, FACET_VALUES)
            table |= {"counted": counted, "values": _links(counted, view, raw)}
    except InvalidArgument as error:
        problem = error.message
    return page(
        request,
        "records.html",
        title=f"Records of {view.namespace}",
        status=400 if problem else 200,
        view=view,
        problem=problem,
        total=total,
        may_write="write" in GRANT.get().scopes,
        **table,
        **shown,
    )


async def _total(namespaces: Namespaces, index: Index, name: str) -> int:
    return (await namespaces.describe(index, name)).record_count


def _table(records: Sequence[Record], view: View) -> dict[str, Any]:
    """The rows, and which columns there are. A column can be chosen if a record on this page has the field."""
    names = list(dict.fromkeys([*view.columns, *(name for record in records for name in record.metadata)]))
    columns = view.columns or names[:MOST_COLUMNS]
    room = CELLS_BYTES // (ROWS * MOST_COLUMNS)
    rows = [
        (
            record.id,
            address_bytes(view.namespace) + address_bytes(record.id) <= ROW_LINK_BYTES,
            [shortened(cell(record.metadata.get(name)), room) for name in columns],
        )
        for record in records
    ]
    # Each name stands four times in the form: twice as a value, twice as a label.
    names = first_within(names[:MOST_NAMES], NAMES_BYTES // 4, html_bytes)
    return {"records": rows, "columns": columns, "names": names}


def cell(value: Any, most: int = CELL) -> str:
    """A value as a table shows it: text as it is, anything else as JSON; cut if it is long."""
    text = "" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= most else f"{text[:most]}…"


def _links(counted: FacetCounts, view: View, raw: dict[str, Any] | None) -> list[FacetLink]:
    most = max((facet.count for facet in counted.facets), default=1)
    links = []
    for facet in counted.facets:
        address = view.address(filter=filter_text.narrowed(raw, view.facet, facet.value))
        fits = len(str(facet.value)) <= LONGEST_LINK and len(address) <= FACET_LINK_BYTES
        links.append(FacetLink(cell(facet.value), facet.count, facet.count / most, address if fits else None))
    return links


handlers = [browse]
