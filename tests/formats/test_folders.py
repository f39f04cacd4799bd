"""Names of folders, which are names of namespaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.errors import InvalidArgument
from pinyon.formats.folders import LONGEST_NAME, folder_of, namespace_of

NAMES = st.text(st.characters(max_codepoint=127, exclude_characters="\0"), min_size=1, max_size=60)


@given(NAMES)
def test_every_namespace_has_a_folder_that_says_its_name(name: str) -> None:
    folder = folder_of(name)
    assert namespace_of(folder) == name
    assert "/" not in folder
    assert not folder.startswith(".")


@pytest.mark.parametrize("folder", ["__default__", "team docs", "100%", "a%20b", "%zz", "caf\u00e9", "%C3%A9"])
def test_a_folder_that_somebody_else_made_is_the_namespace_of_its_name(folder: str) -> None:
    assert namespace_of(folder) == folder


def test_a_name_that_no_folder_can_have_is_refused() -> None:
    assert folder_of("a" * LONGEST_NAME) == "a" * LONGEST_NAME
    with pytest.raises(InvalidArgument, match="too long for a folder"):
        folder_of("a" * (LONGEST_NAME + 1))
