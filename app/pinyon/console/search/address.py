"""The search that an address stands for. Pure.

The whole state of the page is in its address, so that a search can be sent to a colleague.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from pinyon.console import paths
from pinyon.domain import Index
from pinyon.errors import InvalidArgument

TOP_K, DEPTH, MOST_DEPTH = 10, 50, 100
"""Hits of a column if the address does not say how many; and hits that are reranked, by default and at most."""
MOST_CARDS = 48
"""Hits on one page, all columns together. More of them would make the page too large."""
COLUMNS = ("dense", "lexical", "hybrid", "reranked")
"""The ways to search a text, in the order of their columns."""


class PageSearch(msgspec.Struct, frozen=True):
    """What the page asks. Texts are as they were typed; the functions below read them.

    text, id, vector: what is searched for; empty if it is not given. fields: names with commas between them; empty for
    all. show: which of COLUMNS. reranker: a model; empty for the default. depth: how many hits are reranked.
    """

    index: str
    namespace: str
    text: str = ""
    id: str = ""
    vector: str = ""
    filter: str = ""
    top_k: str = ""
    fields: str = ""
    show: tuple[str, ...] = COLUMNS
    reranker: str = ""
    depth: str = ""

    @property
    def asks(self) -> bool:
        """Whether there is anything to search for."""
        return bool(self.text.strip() or self.id or self.vector.strip())

    def parameters(self, **changes: Any) -> list[tuple[str, str]]:
        """The parameters of this search with some changes. What is empty or as usual is left out."""
        search = msgspec.structs.replace(self, **changes)
        values = [
            ("index", search.index),
            ("namespace", search.namespace),
            ("q", search.text),
            ("id", search.id),
            ("vector", search.vector),
            ("filter", search.filter),
            ("top_k", search.top_k),
            ("fields", search.fields),
            *(("show", name) for name in search.show if search.show != COLUMNS),
            ("rerank", search.reranker),
            ("depth", search.depth),
        ]
        return [(name, value) for name, value in values if value]

    def address(self, **changes: Any) -> str:
        """The address of this search with some changes."""
        return f"{paths.ROOT}?{urlencode(self.parameters(**changes))}"


def read(index: Index, namespace: str, one: Mapping[str, str], show: Sequence[str]) -> PageSearch:
    """The search of an address. one: its parameters. show: the values of its parameter `show`.

    Raises InvalidArgument for a column that there is not.
    """
    if unknown := [name for name in show if name not in COLUMNS]:
        raise InvalidArgument(f"There is no column '{unknown[0][:80]}'; there are {', '.join(COLUMNS)}")
    return PageSearch(
        index=index.name,
        namespace=namespace,
        text=one.get("q", ""),
        id=one.get("id", ""),
        vector=one.get("vector", ""),
        filter=one.get("filter", "").strip(),
        top_k=one.get("top_k", "").strip(),
        fields=one.get("fields", "").strip(),
        show=tuple(name for name in COLUMNS if name in show) or COLUMNS,
        reranker=one.get("rerank", ""),
        depth=one.get("depth", "").strip(),
    )


def number(text: str, name: str, usual: int, most: int) -> int:
    """A number of hits. usual: if the text is empty. Raises InvalidArgument outside 1..most."""
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise InvalidArgument(f"{name} must be a whole number from 1 to {most}, got '{text[:40]}'")
    return int(text)


def parsed_fields(text: str) -> list[str] | None:
    """The names of fields; None for all."""
    return [name for part in text.split(",") if (name := part.strip())] or None


def parsed_vector(text: str) -> list[float] | None:
    """The numbers of a vector: a JSON list, or numbers with commas or spaces. None without one.

    Raises InvalidArgument if they are no numbers.
    """
    if not text.strip():
        return None
    numbers = text.strip().removeprefix("[").removesuffix("]").replace(",", " ").split()
    try:
        return [float(each) for each in numbers]
    except ValueError as error:
        raise InvalidArgument(f"The vector must be numbers with commas between them: {str(error)[:80]}") from None
