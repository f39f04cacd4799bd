"""Answers have a bounded size, and lose nothing that is not told."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pinyon.mcp.shortening import CUT, fitting, names, short_fields, short_text, size

VALUES = st.text(max_size=60) | st.integers(-99, 99) | st.booleans() | st.lists(st.text(max_size=30), max_size=6)
FIELDS = st.dictionaries(st.text(max_size=10), VALUES, max_size=8)


@given(FIELDS, st.integers(1, 40), st.integers(1, 200))
def test_fields_that_are_not_named_as_cut_are_whole(fields: dict[str, Any], longest: int, most: int) -> None:
    shown, cut = short_fields(fields, longest, most)
    assert {name: value for name, value in fields.items() if name not in cut} == {
        name: value for name, value in shown.items() if name not in cut
    }
    assert sum(size({name: value}) for name, value in shown.items()) <= most


@given(st.text(max_size=100), st.integers(1, 20))
def test_a_text_is_read_whole_piece_by_piece(text: str, longest: int) -> None:
    pieces = [short_text(text, longest, offset) for offset in range(0, len(text), longest)]
    assert "".join(piece.removesuffix(CUT) if len(piece) > longest else piece for piece in pieces) == text


def test_a_record_longer_than_an_answer_is_shown_alone_rather_than_not() -> None:
    assert fitting(["x" * 50, "y"], str, most=10) == ["x" * 50]
    assert fitting(["x", "y" * 50, "z"], str, most=10) == ["x"]
    assert fitting([], str) == []


def test_long_lists_of_names_are_counted() -> None:
    assert names(["a", "b"]) == "a, b"
    assert names([str(n) for n in range(1_500)], 2) == "0, 1 and 1,498 others"
