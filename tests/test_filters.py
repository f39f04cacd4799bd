"""The filter language: what it means, and what it refuses."""

from typing import Any

import pytest
from pinyon.errors import InvalidArgument
from pinyon.filters import LIST_VALUES, MAX_CONDITIONS, MAX_DEPTH, matches, parse

RECORD = {"genre": "drama", "year": 2019, "price": 9.5, "seen": True, "tags": ["a", "b"], "none": []}

MEANINGS: list[tuple[dict[str, Any], bool]] = [
    ({"genre": "drama"}, True),
    ({"genre": {"$eq": "Drama"}}, False),
    ({"genre": {"$ne": "comedy"}}, True),
    ({"missing": {"$ne": "comedy"}}, True),
    ({"missing": "comedy"}, False),
    ({"year": 2019.0}, True),
    ({"year": "2019"}, False),
    ({"year": {"$gt": 2018}}, True),
    ({"year": {"$gt": 2019}}, False),
    ({"year": {"$gte": 2019, "$lt": 2020}}, True),
    ({"year": {"$lte": 2018.9}}, False),
    ({"missing": {"$gt": 0}}, False),
    ({"genre": {"$gt": 0}}, False),
    ({"seen": {"$gt": 0}}, False),
    ({"seen": True}, True),
    ({"seen": 1}, False),
    ({"seen": "true"}, False),
    ({"year": {"$in": [2018, 2019]}}, True),
    ({"year": {"$nin": [2018, 2019]}}, False),
    ({"missing": {"$nin": [1]}}, True),
    ({"year": {"$in": []}}, False),
    ({"year": {"$nin": []}}, True),
    ({"tags": "a"}, True),
    ({"tags": {"$in": ["x", "b"]}}, True),
    ({"tags": {"$ne": "a"}}, False),
    ({"tags": {"$nin": ["x"]}}, True),
    ({"$and": [{"tags": "a"}, {"tags": "b"}]}, True),
    ({"none": {"$exists": True}}, True),
    ({"none": "a"}, False),
    ({"missing": {"$exists": False}}, True),
    ({"genre": {"$exists": False}}, False),
    ({"genre": "drama", "year": 2018}, False),
    ({"$or": [{"year": 1}, {"price": {"$gt": 9}}]}, True),
    ({"year": {"$not": {"$gt": 2020}}}, True),
    ({"$not": {"genre": "drama"}}, False),
    ({"$or": [{"$and": [{"year": 2019}, {"seen": False}]}, {"tags": "b"}]}, True),
]


@pytest.mark.parametrize(("raw", "expected"), MEANINGS, ids=[str(raw) for raw, _ in MEANINGS])
def test_a_filter_keeps_the_records_it_describes(raw: dict[str, Any], expected: bool) -> None:
    condition = parse(raw)
    assert condition is not None
    assert matches(condition, RECORD) is expected


def test_the_empty_filter_keeps_everything() -> None:
    assert parse({}) is None


def nested(depth: int) -> Any:
    raw: Any = {"a": 1}
    for _ in range(depth):
        raw = {"$and": [raw]}
    return raw


REFUSED: list[tuple[Any, str]] = [
    ([], "must be a JSON object"),
    ("genre", "must be a JSON object"),
    ({"genre": {"$foo": 1}}, "unknown operator $foo for field genre"),
    ({"$foo": 1}, "unknown operator $foo"),
    ({"$eq": 1}, "unknown operator $eq at the top"),
    ({"genre": {"nested": 1}}, "unknown operator nested"),
    ({"genre": None}, "illegal condition for field genre"),
    ({"genre": ["a", "b"]}, "illegal condition for field genre"),
    ({"genre": {"$eq": ["a"]}}, "illegal condition for field genre"),
    ({"genre": {}}, "illegal condition for field genre"),
    ({"year": {"$gt": "x"}}, "the $gt operator must be followed by a number"),
    ({"year": {"$gt": True}}, "the $gt operator must be followed by a number"),
    ({"year": {"$in": 3}}, "the $in operator must be followed by a list"),
    ({"year": {"$in": [None]}}, "illegal condition for field year"),
    ({"year": {"$nin": [[1]]}}, "illegal condition for field year"),
    ({"year": {"$exists": 1}}, "the $exists operator must be followed by a boolean"),
    ({"year": {"$not": 3}}, "the $not operator must be followed by an object"),
    ({"$and": []}, "non-empty list of filters"),
    ({"$or": {}}, "non-empty list of filters"),
    ({"$and": [{}]}, "must not be empty"),
    ({"$and": ["x"]}, "must be a JSON object"),
    ({"year": {"$in": [1] * (LIST_VALUES + 1)}}, f"at most {LIST_VALUES} values"),
    (nested(MAX_DEPTH), f"deeper than {MAX_DEPTH}"),
    ({"$or": [{"a": n} for n in range(MAX_CONDITIONS + 1)]}, f"more than {MAX_CONDITIONS} conditions"),
    ({"year": 10**400}, "out of range"),
]


@pytest.mark.parametrize(("raw", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_not_a_filter_is_refused_with_the_reason(raw: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message.replace("$", r"\$")):
        parse(raw)


def test_the_limits_themselves_are_allowed() -> None:
    assert parse({"year": {"$in": [1] * LIST_VALUES}})
    assert parse(nested(MAX_DEPTH - 1))
    assert parse({"$or": [{"a": n} for n in range(MAX_CONDITIONS)]})
