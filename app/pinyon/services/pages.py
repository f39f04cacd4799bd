"""Page tokens. Clients cannot read them. They stay valid after a restart and with another page size."""

import base64
import binascii
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from pinyon import decoding
from pinyon.errors import InvalidArgument

T = TypeVar("T")


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name after which the next page begins, and the prefix of the list."""

    skip_past: str
    prefix: str | None = None


def token(skip_past: str, prefix: str | None = None) -> str:
    """The token of the next page."""
    return base64.urlsafe_b64encode(msgspec.json.encode(Token(skip_past, prefix))).decode().rstrip("=")


def read(text: str, prefix: str | None = None) -> str:
    """The name after which the page begins.

    Raises InvalidArgument if token() did not make the text, or if it belongs to a list with another prefix.
    """
    try:
        decoded = decoding.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), Token)
    except (binascii.Error, ValueError, UnicodeError, msgspec.MsgspecError):
        raise InvalidArgument("Invalid pagination token; take it from `pagination.next` of the page before") from None
    if (prefix or None) != (decoded.prefix or None):
        raise InvalidArgument("The pagination token belongs to a list with another prefix")
    return decoded.skip_past


def limit(wanted: int | None, default: int, most: int) -> int:
    """The size of a page: the wanted size, or the default. Raises InvalidArgument outside 1..most."""
    if wanted is None:
        return min(default, most)
    if not 1 <= wanted <= most:
        raise InvalidArgument(f"limit must be between 1 and {most}, got {wanted}")
    return wanted


def page(
    rows: Iterable[tuple[str, T]],
    wanted: int | None,
    default: int,
    most: int,
    text: str | None,
    newest_first: bool = False,
) -> tuple[list[T], str | None]:
    """A page of rows, each with its place in the list, and the token of the next page; None on the last page.

    wanted, default, most: as limit() takes them. text: the token of this page. The list is in the order of the places,
    or in the opposite order. Raises InvalidArgument.
    """
    size = limit(wanted, default, most)
    after = read(text) if text else None
    following = sorted(
        (row for row in rows if after is None or (row[0] < after if newest_first else row[0] > after)),
        key=lambda row: row[0],
        reverse=newest_first,
    )
    shown = following[:size]
    return [value for _, value in shown], token(shown[-1][0]) if len(following) > size else None
