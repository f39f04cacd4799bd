"""Fitting mixes and curves to judged queries: what is found, and that noise is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pinyon.domain import EVEN, Mix
from pinyon.errors import InvalidArgument
from pinyon.evaluation import tuning
from pinyon.evaluation.judgements import JudgedQuery, read_judgements
from pinyon.evaluation.tuning import RERANKER_WEIGHTS, Candidates, calibrate, candidates, mixes, tune
from pinyon.search.fusion import Sides, fused, with_late_interaction

HITS = 40


def query(random: np.random.Generator, right: int, sides: int = 2) -> Candidates:
    """A query with one relevant hit, which one side ranks first; what the other sides say is noise."""
    parts = np.zeros((4, HITS))
    parts[:sides] = random.uniform(0, 1, (sides, HITS))
    best = int(random.integers(HITS))
    if right >= 0:
        parts[right] = random.uniform(0, 0.8, HITS)
        parts[right, best] = 0.9
    weights = np.zeros((4, HITS))
    weights[:sides] = 1 / sides
    ids = tuple(f"r{n}" for n in range(HITS))
    return Candidates(ids, parts, weights, random.permutation(HITS) + 1, {f"r{best}": 1})


@pytest.mark.parametrize(("right", "sides"), [(0, 2), (1, 2), (2, 3)])
def test_the_side_that_is_right_gets_the_weight(right: int, sides: int) -> None:
    random = np.random.default_rng(right)
    tuned = tune([query(random, right, sides) for _ in range(30)], EVEN)
    assert tuned.gain.word == "better" and tuned.after > tuned.before + 0.1
    factors = [tuned.mix.similarity, tuned.mix.words, tuned.mix.learned][:sides]
    assert max(factors) == factors[right] and factors.count(max(factors)) == 1


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_taken_for_a_gain(seed: int) -> None:
    random = np.random.default_rng(seed)
    tuned = tune([query(random, -1) for _ in range(30)], EVEN)
    assert tuned.gain.word != "better"


def test_a_mix_that_is_right_already_is_not_better_than_itself() -> None:
    random = np.random.default_rng(0)
    queries = [query(random, 1) for _ in range(30)]
    first = tune(queries, EVEN).mix
    assert tune(queries, first).gain.word != "better"


def test_the_usual_mix_is_tried_first_and_sides_that_are_not_there_are_left_alone() -> None:
    random = np.random.default_rng(0)
    tried = mixes([query(random, 0)])
    assert tried[0] == EVEN and len(set(tried)) == len(tried)
    assert {(mix.learned, mix.reranker) for mix in tried} == {(1.0, 1.0)}
    assert {mix.learned for mix in mixes([query(random, 0, 3)])} == set(tuning.LEARNED)


def test_candidates_beyond_the_depth_of_a_mix_are_not_ranked() -> None:
    one = query(np.random.default_rng(3), 1)
    (wanted,) = one.grades
    rank = int(one.ranks[one.ids.index(wanted)])
    words = Mix(similarity=0)
    assert Candidates(one.ids, one.parts, one.weights, one.ranks, one.grades).gain(words) == 1
    assert one.gain(Mix(similarity=0, candidates=rank - 1)) == 0


def test_the_gain_is_the_ndcg_that_evaluation_computes() -> None:
    from pinyon.evaluation.measures import values

    random = np.random.default_rng(5)
    one = query(random, -1)
    grades = {"r3": 2, "r7": 1, "r9": 3, "elsewhere": 1}
    one = Candidates(one.ids, one.parts, one.weights, one.ranks, grades)
    order = np.argsort(-(one.weights * one.parts).sum(axis=0), kind="stable")
    expected = values({"q": [one.ids[place] for place in order]}, {"q": grades})["nDCG@10"]
    assert [one.gain(EVEN)] == pytest.approx(expected)


def test_the_parts_of_a_reranked_score_are_told_apart() -> None:
    """From what an explanation says. The reranker's own score is computed back."""
    random = np.random.default_rng(7)
    similarities, shares, own = random.uniform(0.1, 0.9, (3, 12))
    for weight in (1.0, 0.5):
        sides = Sides(similarities, shares, weight, token_weight=weight)
        even, reranked = fused(sides), with_late_interaction(own, sides)
        lexical = 1 / (1 + weight)
        hits: list[Any] = [
            {
                "_id": f"r{n}",
                "fields": {
                    "_explain": {
                        "score": even[n],
                        "rerank": float(reranked[n]),
                        "similarity": similarities[n],
                        "share": shares[n],
                        "lexical_weight": lexical,
                        "dense_rank": n + 1,
                    }
                },
            }
            for n in range(12)
        ]
        found = candidates(hits, {"r0": 1}, "pinyon-late-interaction")
        np.testing.assert_allclose(found.parts[3], own, atol=1e-5)
        for mix in (Mix(words=4, reranker=0.25), Mix(similarity=0.5, reranker=2)):
            weights = found.weights * np.array([[mix.similarity], [mix.words], [mix.learned], [mix.reranker]])
            scores = (weights * found.parts).sum(axis=0) / weights.sum(axis=0)
            other = Sides(similarities, shares, weight, mix=mix, token_weight=weight)
            np.testing.assert_allclose(scores, with_late_interaction(own, other), atol=1e-5)
    assert set(RERANKER_WEIGHTS) == {"pinyon-late-interaction", "pinyon-rerank-mini"}


def judged(random: np.random.Generator, says_something: bool) -> tuple[list[Any], list[Any]]:
    scores = [np.sort(random.uniform(0, 1, 50))[::-1] for _ in range(30)]
    chances = [of_query**2 if says_something else np.full(50, 0.2) for of_query in scores]
    return scores, [random.random(50) < chance for chance in chances]


def test_scores_that_say_something_are_calibrated() -> None:
    tuned = calibrate(*judged(np.random.default_rng(1), True))
    assert tuned is not None and tuned.told_apart.word == "better" and tuned.error < 0.08


@pytest.mark.parametrize("seed", range(3))
def test_scores_that_say_nothing_are_told(seed: int) -> None:
    tuned = calibrate(*judged(np.random.default_rng(seed), False))
    assert tuned is not None and tuned.told_apart.word != "better"


def test_scores_that_divide_all_hits_are_calibrated() -> None:
    """One relevant hit of each query, far above the others."""
    random = np.random.default_rng(3)
    scores = [np.concatenate([random.uniform(0.97, 0.99, 1), random.uniform(0.5, 0.92, 39)]) for _ in range(30)]
    tuned = calibrate(scores, [np.arange(40) == 0] * 30)
    assert tuned is not None and tuned.told_apart.word == "better"
    assert tuned.error < 0.01


def test_too_few_queries_with_hits_are_not_calibrated() -> None:
    scores, relevant = judged(np.random.default_rng(1), True)
    few = [of_query[:0] for of_query in scores[:15]], [of_query[:0] for of_query in relevant[:15]]
    assert calibrate(few[0] + scores[15:], few[1] + relevant[15:]) is None
    nineteen = np.concatenate(relevant).cumsum().reshape(30, 50) <= 19
    assert calibrate(scores, [one & first for one, first in zip(relevant, nineteen, strict=True)]) is None


def test_judgements_are_read_from_a_file_and_from_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "judgements.jsonl"
    lines = [{"query": "a", "relevant": ["x", "y"]}, {"query": "b", "relevant": {"x": 2, "y": 0}}]
    file.write_text("\n".join(map(json.dumps, [*lines, {"query": "none", "relevant": []}])))
    graded = [JudgedQuery("a", {"x": 1, "y": 1}), JudgedQuery("b", {"x": 2})]
    assert read_judgements(file) == graded
    file.write_text(file.read_text() + '\n{"query": "b", "relevant": ["z"]}')
    assert read_judgements(file)[1] == JudgedQuery("b", {"x": 2, "z": 1}), "lines with the same query are one"
    (tmp_path / "queries.jsonl").write_text(
        '{"_id": "1", "text": "a"}\n{"_id": "2", "text": "b"}\n{"_id": "3", "text": "c"}'
    )
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\tx\t1\n1\ty\t1\n2\tx\t2\n2\ty\t0\n")
    assert read_judgements(tmp_path) == graded


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"query": "a"}', "line 1: 'relevant' must be a list of record ids, or an object"),
        ('{"query": "a", "relevant": {"x": "good"}}', "line 1: 'relevant' must be"),
        ('{"query": "a", "relevant": ["x", null]}', "line 1: 'relevant' must be"),
        ('{"query": " ", "relevant": ["x"]}', "line 1: 'query' must be a non-empty string"),
        ('{"query": "a", "relevant": {"x": 11}}', "the grade 11 of 'x' is above 10"),
        ('{"relevant": ["x"]}', "line 1: 'query' must be a non-empty string"),
        ("[]", "line 1: not a JSON object"),
    ],
)
def test_wrong_judgements_are_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "judgements.jsonl").write_text(line)
    with pytest.raises(InvalidArgument, match=said):
        read_judgements(tmp_path / "judgements.jsonl")
    with pytest.raises(InvalidArgument, match="neither a file nor a folder"):
        read_judgements(tmp_path / "absent.jsonl")
    with pytest.raises(InvalidArgument, match=r"queries\.jsonl is missing"):
        read_judgements(tmp_path)
