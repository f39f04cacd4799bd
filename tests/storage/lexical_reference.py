"""BM25 term by term, as it is in the books, to compare lexical searches with."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pinyon.domain import EmbedSpec, IndexSpec, Match, Record
from pinyon.search.ranking import K1, B
from pinyon.search.text.terms import query_terms, terms

SPEC = IndexSpec("docs", 2, "cosine", EmbedSpec("any", "text"))
Rows = dict[str, dict[str, Any]]


def reference(
    rows: Rows, query: str, language: str = "english", k1: float = K1, longest: float = math.inf, added: float = 0.0
) -> dict[str, float]:
    """BM25 of every text that shares a term with the query, term by term as it is in the books.

    longest: times the average, as which longer texts count. added: terms added to every length.
    """
    words_of = {id: terms(m["text"], language) for id, m in rows.items() if isinstance(m.get("text"), str)}
    average = sum(map(len, words_of.values())) / max(1, len(words_of))
    scores: dict[str, float] = {}
    for term in query_terms(query, language):
        having = [id for id, words in words_of.items() if term in words]
        weight = math.log(1 + (len(words_of) - len(having) + 0.5) / (len(having) + 0.5))
        for id in having:
            tf, length = words_of[id].count(term), min(len(words_of[id]), longest * average)
            relative = (length + added) / (average + added)
            scores[id] = scores.get(id, 0) + weight * tf * (k1 + 1) / (tf + k1 * (1 - B + B * relative))
    return scores


def most(rows: Rows, query: str, k1: float = K1) -> float:
    """What a text would score with every term of the query in plenty."""
    words_of = [terms(m["text"]) for m in rows.values() if isinstance(m.get("text"), str)]
    having = [sum(term in words for words in words_of) for term in query_terms(query, "english")]
    return sum(math.log(1 + (len(words_of) - n + 0.5) / (n + 0.5)) * (k1 + 1) for n in having)


def scores_of(matches: Sequence[Match]) -> list[tuple[str, float]]:
    return [(match.id, match.score) for match in matches]


def assert_ranked(matches: Sequence[Match], expected: dict[str, float], top_k: int) -> None:
    wanted = sorted(((np.float32(score), id) for id, score in expected.items()), key=lambda row: (-row[0], row[1]))
    found = scores_of(matches)
    assert [score for _, score in found] == pytest.approx([float(score) for score, _ in wanted[:top_k]], rel=1e-5)
    for id, score in found:  # equal up to rounding may change places
        assert score == pytest.approx(expected[id], rel=1e-5)


def vector(n: float) -> Any:
    return np.array([math.cos(n), math.sin(n)], np.float32)


def record(id: str, fields: dict[str, Any]) -> Record:
    return Record(id, vector(int(id[1:])), fields)
