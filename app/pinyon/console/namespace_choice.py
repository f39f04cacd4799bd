"""The namespace that a page shows."""

import msgspec

from pinyon.auth.permissions import GRANT
from pinyon.console.page_weight import first_within, html_bytes
from pinyon.console.pages import AnyRequest
from pinyon.domain import DEFAULT_NAMESPACE, Index
from pinyon.services.data_plane.namespaces import Namespaces

NAMES_BYTES = 10_000
"""What all names may take on a page together."""


class NamespaceChoice(msgspec.Struct, frozen=True):
    """The chosen namespace, and the first ones that the API key may see: names and numbers of records."""

    name: str
    every: list[tuple[str, int]]


async def chosen_namespace(request: AnyRequest, index: Index, namespaces: Namespaces) -> NamespaceChoice:
    """The namespace that the address names with ?namespace=, or the default one, or the first one of the index.

    Raises PermissionDenied if the key may not read the index.
    """
    page = await namespaces.list(index, None, None, None)
    first = first_within(page.namespaces, NAMES_BYTES, lambda info: html_bytes(info.name))
    every = [(info.name, info.record_count) for info in first]
    name = request.query_params.get("namespace")
    if not name:
        names = [name for name, _ in every] or sorted(GRANT.get().namespaces or [DEFAULT_NAMESPACE])
        name = DEFAULT_NAMESPACE if DEFAULT_NAMESPACE in names else names[0]
    return NamespaceChoice(name, every)
