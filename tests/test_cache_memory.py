"""Caches count what they hold: the memory that Python and numpy really take, keys and small entries included."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pinyon.domain import Fingerprint
from pinyon.filters import parse
from pinyon.inference.steps import Steps, finished
from pinyon.inference.token_cache import CachingEncoder
from pinyon.services.inference.embedded_text import EmbeddedText
from pinyon.services.inference.query_cache import QueryCache
from pinyon.storage.shared.posting_cache import InvertedList, PostingCache
from pinyon.storage.shared.row_sets import RowSet
from pinyon.storage.sqlite.filters.column_store import ColumnStore
from pinyon.storage.sqlite.filters.columns import Columns, column
from pinyon.storage.sqlite.filters.filter_cache import FilterCache
from pinyon.storage.sqlite.vectors.vector_cache import CachedVectors, VectorCache

PLENTY = 2**40
PRINT = Fingerprint("m", "m", "v", "mean", "", "", 8)


class Encoder:
    """Token vectors of as many windows as a text has words."""

    dimension, max_tokens = 8, 256

    def token_windows(self, texts: list[str], _: int) -> Steps[list[list[np.ndarray]]]:
        yield
        return [[np.ones((4, 8), np.float32) for _ in range(len(text.split()) or 1)] for text in texts]


def token_cache(size: int) -> tuple[Any, Callable[[int], None]]:
    cache = CachingEncoder(Encoder(), PLENTY)  # type: ignore[arg-type]
    return cache, lambda n: finished(cache.token_windows([f"{n} " + "x " * size + " " * 100 * size], 10)) and None


def query_cache(size: int) -> tuple[Any, Callable[[int], None]]:
    cache = QueryCache(PLENTY)

    def put(n: int) -> None:
        cache.put((PRINT, "END", f"{n}" + "é猫"[n % 2] * size), EmbeddedText(3, False, np.ones(8, np.float32)))

    return cache, put


def filter_cache(size: int) -> tuple[Any, Callable[[int], None]]:
    cache = FilterCache(PLENTY)

    def put(n: int) -> None:
        condition = parse({"f": {"$in": [f"{n}-{m}" for m in range(size)]}}, 10_000)
        assert condition is not None
        cache.put(condition, ("docs@1", 1), 1, RowSet.of_rows(np.arange(size, dtype=np.int64)))

    return cache, put


def vector_cache(size: int) -> tuple[Any, Callable[[int], None]]:
    cache = VectorCache(PLENTY)

    def put(n: int) -> None:
        cache.put(("docs@1", n), CachedVectors.of(1, np.arange(size, dtype=np.int64), np.ones((size, 8), np.float32)))

    return cache, put


def columns(size: int) -> tuple[Any, Callable[[int], None]]:
    store = ColumnStore(PLENTY)
    alive = np.ones(size, dtype=bool)

    def put(n: int) -> None:
        rows = [(2, b"=" + f"{n} {m}".encode(), m) for m in range(size)]
        key = ("docs@1", n // 10)
        columns = store.get(key) or Columns(1, alive, {})
        store.put(key, columns.with_column(f"field {n}", column(rows, {})))

    return store, put


def posting_cache(size: int) -> tuple[Any, Callable[[int], None]]:
    cache = PostingCache(PLENTY)

    def put(n: int) -> None:
        rows = np.arange(size, dtype=np.int64)
        key, tokens = ("docs@1", n // 10), (f"1x{n:012x}", f"1x{n + 1:012x}")
        cache.inverted_list(key, (1, 1), tokens, lambda: InvertedList(rows.copy(), np.ones(size, np.float32)))
        cache.lengths(key, (1, 1), size, rows, lambda unknown: np.ones(len(unknown)))

    return cache, put


CACHES = [token_cache, query_cache, filter_cache, vector_cache, columns, posting_cache]


@pytest.mark.parametrize("size", [1, 10, 300], ids=["tiny", "small", "larger"])
@pytest.mark.parametrize("make", CACHES, ids=lambda make: make.__name__)
def test_what_a_cache_counts_is_what_it_takes(
    make: Callable[[int], tuple[Any, Callable[[int], None]]], size: int
) -> None:
    cache, put = make(size)
    put(10**6)  # what is made once is not the cache's
    counted = cache.nbytes
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(200):
            put(n)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    counted = cache.nbytes - counted
    assert taken < 1.3 * counted + 10_000, f"{taken} taken, {counted} counted"
    assert counted < 4 * taken, f"{taken} taken, {counted} counted: room is wasted"


def test_documents_of_spaces_are_not_kept_as_such() -> None:
    cache, _put = token_cache(1)
    tracemalloc.start()
    try:
        for n in range(20):
            finished(cache.token_windows([f"{n}" + " " * 1_000_000], 10))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 1_000_000, "twenty megabytes of spaces"
