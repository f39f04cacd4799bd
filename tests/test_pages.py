"""Page tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidArgument
from app.services.pages import read, token


@given(st.text(max_size=20), st.none() | st.text(max_size=5))
def test_a_token_says_where_the_page_ended_whoever_reads_it_and_whenever(name: str, prefix: str | None) -> None:
    assert read(token(name, prefix), prefix) == name


@given(st.text(max_size=30))
def test_anything_else_is_refused(text: str) -> None:
    try:
        found = read(text)
    except InvalidArgument:
        return
    assert token(found) == text or read(token(found)) == found


def test_a_token_belongs_to_its_prefix() -> None:
    with pytest.raises(InvalidArgument, match="another prefix"):
        read(token("a", "x"), "y")
