"""Filters as people write them: the JSON of the API, in a text field. Pure."""

from typing import Any

import msgspec

from pinyon import filters
from pinyon.errors import InvalidArgument


def parsed(text: str) -> dict[str, Any] | None:
    """The filter in a text; None if the text is empty. Raises InvalidArgument, which says what is wrong with it."""
    if not text.strip():
        return None
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f'The filter is no JSON: {error}. Expected: an object such as {{"year": 2020}}') from None
    filters.parse(raw)
    return dict(raw) or None


def narrowed(raw: dict[str, Any] | None, field: str, value: Any) -> str:
    """The filter of the records that also have this value in the field."""
    if raw is not None and field in raw:
        return msgspec.json.encode({"$and": [raw, {field: value}]}).decode()
    return msgspec.json.encode({**(raw or {}), field: value}).decode()
