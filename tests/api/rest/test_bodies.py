"""Records in a body, as clients really send them."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.api.rest.bodies import decode_records
from pinyon.errors import InvalidArgument

A, B = {"_id": "a"}, {"_id": "b"}


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'{"_id":"a"}\n{"_id":"b"}\n', [A, B]),
        (b'{"_id":"a"}\n{"_id":"b"}', [A, B]),
        (b'{"_id":"a"}\r\n\r\n  \n{"_id":"b"}\r\n', [A, B]),
        (b'\n\n {"_id":"a"} \n', [A]),
        (b'[{"_id":"a"},\n{"_id":"b"}]', [A, B]),
        (b" \n[]", []),
        (b'{\n  "_id": "a"\n}\n', [A]),
        (b'\xef\xbb\xbf{"_id":"a"}\n', [A]),
        ('{"_id":"a\u2028b\u0085"}\n'.encode(), [{"_id": "a\u2028b\u0085"}]),
        (b"", []),
        (b"3\n", [3]),
    ],
    ids=[
        "ndjson",
        "no end",
        "crlf and blank",
        "spaces",
        "array",
        "empty array",
        "one object",
        "bom",
        "u2028",
        "empty",
        "3",
    ],
)
def test_every_leniency(body: bytes, rows: list[Any]) -> None:
    assert decode_records(body) == rows


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"_id":"a"}\n{"_id":\n{"_id":"c"}', "Line 2 is not valid JSON"),
        (b'{"_id":"a"}\n\n\nnonsense', "Line 4 is not valid JSON"),
        (b'[{"_id":"a"}', "The body is not valid JSON"),
        (b'{"_id":"\xff"}', "Line 1 is not valid JSON"),
        (b'{"a":' * 5000, "Line 1 is not valid JSON|Line 1 is nested too deeply"),
        (b"[" * 100_000, "The body is nested too deeply"),
        (b'{"n": NaN}', "Line 1 is not valid JSON"),
        (b'{"n": 1e999}', "Line 1 is wrong: Number out of range"),
    ],
)
def test_what_is_not_json_is_refused_with_its_line(body: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        decode_records(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_refused(body: bytes) -> None:
    with suppress(InvalidArgument):
        assert isinstance(decode_records(body), list)
