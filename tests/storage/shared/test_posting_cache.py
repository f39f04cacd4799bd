"""Cached inverted lists and lengths: the same answers as from the tables, whatever is written meanwhile."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pinyon.domain import QueryPlan, Selection
from pinyon.storage.shared.posting_cache import InvertedList, PostingCache
from pinyon.storage.sqlite.engine import SqliteEngine

from tests.examples import examples
from tests.storage.lexical_reference import SPEC, record

WORDS = ("apple", "apples", "pear", "plum")
KEY, VERSION = ("docs@1", 1), (1, 1)
numbers = itertools.count()

steps = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.integers(0, 5), st.lists(st.sampled_from(WORDS), max_size=4)),
        st.tuples(st.just("delete"), st.integers(0, 5)),
        st.tuples(st.just("language"), st.sampled_from(["none", "english"])),
        st.tuples(st.just("search"), st.lists(st.sampled_from(WORDS), min_size=1, max_size=3)),
    ),
    max_size=12,
)


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_a_cache_changes_no_answer(tmp_path: Path, steps: list[tuple[object, ...]]) -> None:
    folder = tmp_path / str(next(numbers))

    async def check() -> None:
        engines = [
            await SqliteEngine.open_folder(folder / str(size), 1, 0, posting_cache_bytes=size) for size in (0, 2**20)
        ]
        for engine in engines:
            await engine.create_index(SPEC)
            await engine.upsert("docs", "a", [record("r9", {"text": "plum"})])
        for name, *arguments in [*steps, ("search", ["apple", "pear"])]:
            answers = []
            for engine in engines:
                if name == "upsert":
                    await engine.upsert("docs", "a", [record(f"r{arguments[0]}", {"text": " ".join(arguments[1])})])
                elif name == "delete":
                    await engine.delete("docs", "a", Selection(ids=[f"r{arguments[0]}"]))
                elif name == "language":
                    index = engine.index("docs")
                    embed = msgspec.structs.replace(index.spec.embed, language=arguments[0])
                    spec = msgspec.structs.replace(index.spec, embed=embed)
                    await engine.configure_index(msgspec.structs.replace(index, spec=spec))
                else:
                    text = " ".join(arguments[0])
                    answer = await engine.query("docs", "a", QueryPlan(9, text=text, statistics_text=text))
                    answers.append(([(hit.id, hit.score) for hit in answer.matches], answer.statistics))
            assert all(answer == answers[0] for answer in answers)
        for engine in engines:
            await engine.close()

    asyncio.run(check())


def of_rows(*rows: int) -> InvertedList:
    return InvertedList(np.array(rows, np.int64), np.ones(len(rows), np.float32))


def lengths_of(reads: list[list[int]]) -> Callable[[np.ndarray], np.ndarray]:
    def read(records: np.ndarray) -> np.ndarray:
        reads.append(records.tolist())
        return records * 10.0

    return read


def test_only_lengths_that_are_not_in_memory_are_read() -> None:
    cache, reads = PostingCache(2**20), list[list[int]]()
    for wanted in ([3, 5], [3, 4, 5], [1, 9], [1, 3, 4, 5, 9]):
        lengths = cache.lengths(KEY, VERSION, 10, np.array(wanted), lengths_of(reads))
        assert lengths.tolist() == [10.0 * row for row in wanted]
    assert reads == [[3, 5], [4], [1, 9]]


def test_rows_that_lie_far_apart_are_read_each_time_instead_of_filling_the_memory() -> None:
    cache, reads = PostingCache(2**20), list[list[int]]()
    for _ in range(2):
        assert cache.lengths(KEY, VERSION, 2, np.array([1, 10**9]), lengths_of(reads)).tolist() == [10.0, 10.0**10]
    assert reads == [[1, 10**9]] * 2
    assert cache.nbytes < 10_000


def test_a_newer_version_replaces_an_older_one_and_an_older_snapshot_reads_for_itself() -> None:
    cache = PostingCache(2**20)
    assert cache.inverted_list(KEY, (1, 1), ("x",), lambda: of_rows(1)).records.tolist() == [1]
    assert cache.inverted_list(KEY, (2, 1), ("x",), lambda: of_rows(1, 2)).records.tolist() == [1, 2]
    assert cache.inverted_list(KEY, (1, 1), ("x",), lambda: of_rows(1)).records.tolist() == [1]
    assert cache.inverted_list(KEY, (2, 1), ("x",), lambda: of_rows(9)).records.tolist() == [1, 2]


@pytest.mark.parametrize("namespaces", [1, 50])
def test_what_was_used_longest_ago_makes_room(namespaces: int) -> None:
    cache = PostingCache(100_000)
    for n in range(1_000):
        key = ("docs@1", n % namespaces)
        cache.inverted_list(key, VERSION, (str(n),), lambda: of_rows(*range(100)))
        assert cache.nbytes <= 100_000
    assert cache.cached_list(("docs@1", 999 % namespaces), VERSION, ("999",)) is not None
    assert cache.cached_list(("docs@1", 0), VERSION, ("0",)) is None
    cache.keep_only("docs@1")
    assert cache.nbytes == 0
