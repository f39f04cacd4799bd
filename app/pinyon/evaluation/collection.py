"""Reads judged collections in BEIR layout: documents, queries, and grades of documents for queries."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pinyon import decoding
from pinyon.errors import InvalidArgument

Grades = dict[str, dict[str, int]]
"""Grades by query id and document id. Documents with 0 or less are not relevant."""
HIGHEST_GRADE = 10


class Collection(msgspec.Struct, frozen=True):
    """A judged collection.

    documents: ids and texts, without empty texts. queries: texts of the judged queries, by id. digest: a hash of the
    files.
    """

    name: str
    documents: list[tuple[str, str]]
    queries: dict[str, str]
    grades: Grades
    digest: str


def read(folder: Path) -> Collection:
    """Read a folder with corpus.jsonl (_id, title, text), queries.jsonl (_id, text) and qrels.tsv or qrels/test.tsv.

    The text of a document is its title, a new line and its text. Queries without a relevant document are left out,
    because every order of hits would be equally good. Raises InvalidArgument, which names the file and the line.
    """
    judged = folder / "qrels.tsv"
    if not judged.exists():
        judged = folder / "qrels" / "test.tsv"
    files = (folder / "corpus.jsonl", folder / "queries.jsonl", judged)
    for file in files:
        if not file.is_file():
            raise InvalidArgument(
                f"{folder} is not a collection in BEIR layout: {file} is missing; wanted are corpus.jsonl, "
                "queries.jsonl and qrels.tsv or qrels/test.tsv"
            )
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    grades = read_grades(judged)
    documents = [
        (field_of(row, "_id", where), text)
        for where, row in read_rows(files[0])
        if (text := f"{row.get('title') or ''}\n{row.get('text') or ''}".strip())
    ]
    queries = {field_of(row, "_id", where): field_of(row, "text", where) for where, row in read_rows(files[1])}
    judged_queries = {
        id: text for id, text in queries.items() if any(grade > 0 for grade in grades.get(id, {}).values())
    }
    if not documents or not judged_queries:
        raise InvalidArgument(f"{folder} holds no documents with text, or no query with a relevant document")
    return Collection(folder.resolve().name, documents, judged_queries, grades, digest.hexdigest())


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The number of each line and the line. Only \\n ends a line, because texts may contain other separators."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{path} is not UTF-8: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}, line {number}", line


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects of a file, each after words that say where it stands. Raises InvalidArgument."""
    for where, line in _lines(path):
        try:
            row = decoding.decode(line, dict[str, Any])
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"{where}: not a JSON object: {error}") from error
        yield where, row


def field_of(row: dict[str, Any], name: str, where: str) -> str:
    """A text of a row that read_rows() gave. Raises InvalidArgument if it is not there or empty."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgument(f"{where}: '{name}' must be a non-empty string")
    return value


def read_grades(path: Path) -> Grades:
    """Tab-separated query-id, corpus-id, score. The first line is a header if its score is not a number."""
    grades: Grades = {}
    for number, (where, line) in enumerate(_lines(path)):
        columns = line.rstrip("\r").split("\t")
        try:
            query, document, grade = columns[0], columns[1], int(columns[2])
        except (IndexError, ValueError) as error:
            if number == 0:
                continue
            raise InvalidArgument(f"{where}: wanted are query id, document id and a whole grade, by tabs") from error
        if grade > HIGHEST_GRADE:
            raise InvalidArgument(f"{where}: the grade {grade} is above {HIGHEST_GRADE}, the highest that is weighed")
        grades.setdefault(query, {})[document] = grade
    return grades
