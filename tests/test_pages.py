"""Page tokens."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.errors import InvalidArgument
from pinyon.services.pages import read, token


@given(st.text(max_size=20), st.none() | st.text(max_size=5))
def test_a_token_says_where_the_page_ended_whoever_reads_it_and_whenever(name: str, prefix: str | None) -> None:
    assert read(token(name, prefix), prefix) == name


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    with suppress(InvalidArgument):
        assert isinstance(read(text), str)


@pytest.mark.parametrize("text", ["nonsense", "e30", "ä", "====", "W10", token("a")[:-2]])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid pagination token"):
        read(text)


def test_a_token_belongs_to_its_prefix() -> None:
    with pytest.raises(InvalidArgument, match="another prefix"):
        read(token("a", "x"), "y")
