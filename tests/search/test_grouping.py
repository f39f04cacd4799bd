"""Which hits there is room for."""

from typing import Any

import pytest
from pinyon.domain import Grouping
from pinyon.search.grouping import Groups


@pytest.mark.parametrize(
    ("values", "admitted"),
    [
        (["a", "b", "a", "b"], [True, True, False, False]),
        ([1, 1.0, True, "1", 2], [True, False, True, True, True]),
        ([["a", "b"], "b", ["c"], ["c", "d"], ["d"]], [True, False, True, False, True]),
        ([["a", "a"], ["a"]], [True, False]),
        ([[], [], None, None], [True] * 4),
    ],
)
def test_a_hit_needs_room_in_the_group_of_each_of_its_values(values: list[Any], admitted: list[bool]) -> None:
    groups = Groups(Grouping("f"))
    assert [groups.admits({} if value is None else {"f": value}) for value in values] == admitted


def test_a_group_has_room_for_as_many_hits_as_its_size() -> None:
    groups = Groups(Grouping("f", 2))
    assert [groups.admits({"f": "a"}) for _ in range(3)] == [True, True, False]
    assert groups.admits({"f": True})
    assert groups.full == ("a",)
