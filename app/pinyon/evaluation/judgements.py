"""Reads judged queries for an index that exists: which records answer which query."""

from pathlib import Path
from typing import Any

import msgspec

from pinyon import decoding
from pinyon.errors import InvalidArgument
from pinyon.evaluation.collection import HIGHEST_GRADE, field_of, read_grades, read_rows


class JudgedQuery(msgspec.Struct, frozen=True):
    """A query and its relevant records. grades: by record id, more than 0."""

    text: str
    grades: dict[str, int]


def read_judgements(path: Path) -> list[JudgedQuery]:
    """Read judged queries: a folder in BEIR layout (its corpus.jsonl is not needed), or a file of JSON lines.

    A line is {"query": TEXT, "relevant": [ID, ...]}, or has grades: {"query": TEXT, "relevant": {ID: GRADE}}. Lines
    with the same query are one: otherwise a mix would be tried on queries that it was fitted to. Queries without a
    relevant record are left out. Raises InvalidArgument, which names the file and the line.
    """
    grades: dict[str, dict[str, int]] = {}
    for query in _from_folder(path) if path.is_dir() else _from_file(path):
        grades.setdefault(query.text, {}).update(query.grades)
    return [JudgedQuery(text, of_query) for text, of_query in grades.items() if of_query]


def _from_folder(folder: Path) -> list[JudgedQuery]:
    judged = folder / "qrels.tsv"
    if not judged.exists():
        judged = folder / "qrels" / "test.tsv"
    for file in (folder / "queries.jsonl", judged):
        if not file.is_file():
            raise InvalidArgument(f"{file} is missing; a folder of judgements has queries.jsonl and qrels.tsv")
    grades = read_grades(judged)
    return [
        JudgedQuery(
            field_of(row, "text", where),
            {id: grade for id, grade in grades.get(field_of(row, "_id", where), {}).items() if grade > 0},
        )
        for where, row in read_rows(folder / "queries.jsonl")
    ]


def _from_file(file: Path) -> list[JudgedQuery]:
    if not file.is_file():
        raise InvalidArgument(f"There are no judgements at {file}: neither a file nor a folder")
    return [
        JudgedQuery(field_of(row, "query", where), _relevant(row.get("relevant"), where))
        for where, row in read_rows(file)
    ]


def _relevant(given: Any, where: str) -> dict[str, int]:
    if isinstance(given, list) and all(isinstance(id, str) for id in given):
        given = dict.fromkeys(given, 1)
    try:
        grades = decoding.convert(given, dict[str, int])
    except msgspec.ValidationError:
        raise InvalidArgument(
            f"{where}: 'relevant' must be a list of record ids, or an object of their grades"
        ) from None
    for id, grade in grades.items():
        if grade > HIGHEST_GRADE:
            raise InvalidArgument(f"{where}: the grade {grade} of '{id}' is above {HIGHEST_GRADE}, the highest allowed")
    return {id: grade for id, grade in grades.items() if grade > 0}
