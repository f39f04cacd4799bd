"""Benchmarks run on a machine without the collections, and measure the same thing every time."""

import re
from pathlib import Path

import numpy as np

from benchmarks import peers, texts, vectors


def test_without_collections_vectors_are_made_up_and_the_same_every_time(tmp_path: Path) -> None:
    made, asked, real = vectors.load(2_000, tmp_path, tmp_path / "cache")
    again, asked_again, _ = vectors.load(2_000, tmp_path, tmp_path / "cache")
    assert (made.shape, made.dtype, real) == ((2_000, vectors.DIMENSION), np.float32, 0)
    assert len(asked) == vectors.QUESTIONS
    np.testing.assert_array_equal(made, again)
    np.testing.assert_array_equal(asked, asked_again)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert "made up" in vectors.describe(2_000, real)


def test_made_up_questions_have_near_neighbours(tmp_path: Path) -> None:
    made, asked, _ = vectors.load(2_000, tmp_path, tmp_path / "cache")
    cosines = np.sort(asked[:50] @ made.T, axis=1)
    assert cosines[:, -1].mean() > 0.75, "of the same cluster"
    assert abs(cosines.mean()) < 0.05, "of all others"


def test_without_collections_texts_are_made_up_and_the_same_every_time(tmp_path: Path) -> None:
    assert texts.abstracts(tmp_path) == texts.abstracts(tmp_path) == list(texts.passages(tmp_path))
    assert len(set(texts.abstracts(tmp_path))) == texts.MADE_UP
    questions = texts.questions(("cranfield",), data=tmp_path)
    assert len(set(questions)) == texts.MADE_UP
    assert not set(questions) & set(texts.abstracts(tmp_path))
    assert "Made-up texts" in texts.describe(tmp_path)


def test_collections_are_read_where_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "retrieval" / "cranfield"
    folder.mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"text": "a wing\\u2028in a slipstream"}\n{"text": ""}\n', encoding="utf-8")
    (folder / "queries.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
    assert texts.abstracts(tmp_path) == ["a wing\u2028in a slipstream"]
    assert texts.questions(("cranfield",), 1, tmp_path) == ["one"]
    assert "public collections" in texts.describe(tmp_path)


def test_every_package_of_another_engine_has_one_version() -> None:
    for name, packages in peers.PACKAGES.items():
        assert all(re.fullmatch(r"[\w-]+(\[\w+\])?==[\w.]+", package) for package in packages), name
