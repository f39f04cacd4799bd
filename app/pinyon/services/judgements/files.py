"""Reads and writes judgements as a set in BEIR layout, whose corpus is the index itself.

DATA/judgements/INDEX/NAMESPACE/queries.jsonl    a line for each query: {"_id": ID, "text": TEXT}
DATA/judgements/INDEX/NAMESPACE/qrels/test.tsv   query id, record id and grade, with tabs between them
"""

import hashlib
import io
import zipfile
from pathlib import Path

import msgspec

from pinyon.errors import InvalidArgument
from pinyon.evaluation.collection import field_of, read_grades, read_rows
from pinyon.files import put_in_place
from pinyon.formats.folders import folder_of, namespace_of

GOOD, BAD = 1, 0
"""Grades."""
QUERIES, GRADES = "queries.jsonl", "qrels/test.tsv"


class JudgedQuery(msgspec.Struct, frozen=True):
    """A query with the grades of records, by their ids."""

    id: str
    text: str
    grades: dict[str, int]

    def ids(self, good: bool) -> list[str]:
        """The records that are good, or those that are bad."""
        return [id for id, grade in self.grades.items() if (grade > 0) == good]


def folder(data_dir: Path, index: str, namespace: str) -> Path | None:
    """Where the judgements of a namespace are. None if its name is too long for a folder."""
    try:
        return data_dir / "judgements" / index / folder_of(namespace)
    except InvalidArgument:
        return None


def namespaces(data_dir: Path, index: str) -> list[str]:
    """The namespaces of an index that have judgements, sorted."""
    return sorted(namespace_of(file.parent.name) for file in (data_dir / "judgements" / index).glob(f"*/{QUERIES}"))


def query_id(text: str) -> str:
    """The id of a query. The same text always has the same."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read(folder: Path) -> dict[str, JudgedQuery]:
    """The judged queries of a folder by id; none if there is no such folder.

    Raises InvalidArgument if a file is malformed; the message names the file and the line.
    """
    if not (folder / QUERIES).is_file():
        return {}
    grades = read_grades(folder / GRADES) if (folder / GRADES).is_file() else {}
    queries = {}
    for where, row in read_rows(folder / QUERIES):
        id = field_of(row, "_id", where)
        queries[id] = JudgedQuery(id, field_of(row, "text", where), grades.get(id, {}))
    return queries


def contents(queries: dict[str, JudgedQuery]) -> dict[str, bytes]:
    """The content of both files by their names."""
    rows = [msgspec.json.encode({"_id": query.id, "text": query.text}) + b"\n" for query in queries.values()]
    lines = [f"{query.id}\t{id}\t{grade}\n" for query in queries.values() for id, grade in query.grades.items()]
    return {QUERIES: b"".join(rows), GRADES: "".join(["query-id\tcorpus-id\tscore\n", *lines]).encode()}


def write(folder: Path, queries: dict[str, JudgedQuery]) -> None:
    """Replace the judgements of a folder. Each file is either the old or the new one, even after a power cut.

    Grades of a query that is not in the other file count for nothing, so it does not matter which is replaced first.
    Raises OSError.
    """
    for name, content in contents(queries).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".partial")
        part.write_bytes(content)
        put_in_place(part, file)


def archive(queries: dict[str, JudgedQuery]) -> bytes:
    """Both files as a ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents(queries).items():
            packed.writestr(name, content)
    return buffer.getvalue()
