"""Keeps pages under 150 KB, whatever they show: what texts take as HTML, and how long addresses may be. Pure."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TypeVar
from urllib.parse import quote_plus

from pinyon.errors import InvalidArgument

ADDRESS_BYTES, VECTOR_CHARACTERS = 6_000, 60_000
"""What the values in an address may take: a vector, and all others together. Pages repeat the others a few times."""
Item = TypeVar("Item")


def html_bytes(text: str) -> int:
    """What a text takes in a page. Characters that HTML means something by take up to six bytes."""
    return len(escape(text).encode())


def address_bytes(text: str) -> int:
    """What a text takes as a value in an address."""
    return len(quote_plus(text))


def within(text: str, size: int) -> str:
    """The beginning of a text that takes at most so many bytes as HTML."""
    text = text[: max(size, 0)]
    while html_bytes(text) > size:
        text = text[: len(text) * 3 // 4]
    return text


def shortened(text: str, size: int) -> str:
    """The text, with an ellipsis at its end if it takes more than `size` bytes as HTML and was cut."""
    return text if html_bytes(text) <= size else f"{within(text, size)}…"


def first_within(items: Sequence[Item], size: int, weigh: Callable[[Item], int]) -> list[Item]:
    """The first items that take at most so many bytes together. weigh: the bytes of one."""
    taken = 0
    for place, item in enumerate(items):
        taken += weigh(item)
        if taken > size:
            return list(items[:place])
    return list(items)


def check_address(values: Iterable[tuple[str, str]]) -> None:
    """Raises InvalidArgument if an address is too long for a page. values: its parameters."""
    taken, vector = 0, 0
    for name, value in values:
        if name == "vector":
            vector += len(value)
        else:
            taken += address_bytes(value)
    if taken > ADDRESS_BYTES or vector > VECTOR_CHARACTERS:
        raise InvalidArgument(
            f"The address of this page has {taken:,} bytes of texts and filters, and {vector:,} of a vector; the "
            f"console takes at most {ADDRESS_BYTES:,} and {VECTOR_CHARACTERS:,}. Shorten them, or send the request "
            "over the API, which takes longer ones"
        )
