"""The search page."""

from litestar import Response, get
from litestar.di import NamedDependency

from pinyon.auth import permissions
from pinyon.console import paths
from pinyon.console.pages import AnyRequest, chosen_index, page
from pinyon.services.control_plane.indexes import Indexes


@get(paths.ROOT, operation_id="pinyon_console_search")
async def search(request: AnyRequest, indexes: NamedDependency[Indexes]) -> Response[str]:
    """Search an index."""
    permissions.check("read")
    index = chosen_index(request, indexes)
    return page(request, "search.html", title="Search", active="search", index=index, every_index=indexes.all())


handlers = [search]
