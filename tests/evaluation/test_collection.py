"""Collections in BEIR layout, whole and broken."""

from pathlib import Path

import pytest
from pinyon.errors import InvalidArgument
from pinyon.evaluation.collection import read

FILES = {
    "corpus.jsonl": '{"_id": "a", "title": "Apples", "text": "and pears\u2028still"}\n{"_id": "b", "title": "", "text": " "}\n',
    "queries.jsonl": '{"_id": "1", "text": "fruit"}\n{"_id": "2", "text": "not judged"}\n{"_id": "3", "text": "nothing"}\n',
    "qrels.tsv": "query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t0\n3\ta\t0\n",
}


def write(folder: Path, **changed: str | None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in {**FILES, **changed}.items():
        if text is not None:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_titles_precede_texts_and_only_answerable_queries_are_asked(tmp_path: Path) -> None:
    found = read(write(tmp_path / "fruit"))
    assert (found.name, found.documents, found.queries) == (
        "fruit",
        [("a", "Apples\nand pears\u2028still")],
        {"1": "fruit"},
    )
    assert found.grades == {"1": {"a": 2, "b": 0}, "3": {"a": 0}}


def test_judgements_may_lie_where_beir_puts_them(tmp_path: Path) -> None:
    moved = write(tmp_path / "one", **{"qrels.tsv": None, "qrels/test.tsv": "1\ta\t1\n"})
    assert read(moved).grades == {"1": {"a": 1}}


def test_a_change_in_any_file_changes_the_digest(tmp_path: Path) -> None:
    digests = {read(write(tmp_path / "c")).digest}
    for name, text in FILES.items():
        digests.add(read(write(tmp_path / "c", **{name: text + "\n"})).digest)
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("corpus.jsonl", None, r"not a collection in BEIR layout: .*corpus.jsonl is missing"),
        ("corpus.jsonl", "[1]\n", "corpus.jsonl, line 1: not a JSON object"),
        ("corpus.jsonl", '{"text": "x"}\n', "corpus.jsonl, line 1: '_id' must be a non-empty string"),
        ("corpus.jsonl", '{"_id": "b"}\n', "no documents with text"),
        ("queries.jsonl", '{"_id": "1", "text": 3}\n', "queries.jsonl, line 1: 'text' must be"),
        ("queries.jsonl", '{"_id": "2", "text": "x"}\n', "no query with a relevant document"),
        ("qrels.tsv", "1\ta\t1\n1\tb\tgood\n", "qrels.tsv, line 2: wanted are"),
        ("qrels.tsv", "1\ta\t11\n", "qrels.tsv, line 1: the grade 11 is above 10"),
        ("qrels.tsv", "1\ta\t1\n1 b 1\n", "qrels.tsv, line 2: wanted are"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, name: str, text: str | None, wrong: str) -> None:
    folder = write(tmp_path / "c", **{name: text})
    with pytest.raises(InvalidArgument, match=wrong):
        read(folder)


def test_bytes_that_are_not_utf_8_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "c")
    (folder / "corpus.jsonl").write_bytes(b'{"_id": "\xff"}')
    with pytest.raises(InvalidArgument, match="is not UTF-8"):
        read(folder)
