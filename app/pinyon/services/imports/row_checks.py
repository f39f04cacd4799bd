"""The rows of files, checked by the rules of upserts and put together in batches that are stored as a whole.

It reads files and computes, so it runs on a thread of its own.
"""

from collections.abc import Iterator
from operator import itemgetter

import msgspec

from pinyon.domain import Index, IndexSpec, Record
from pinyon.errors import InvalidArgument
from pinyon.formats import files
from pinyon.formats.layout import SPARSE, VALUES, Columns
from pinyon.formats.rows import Batch, Row, RowProblem
from pinyon.services.data_plane import sizes
from pinyon.services.data_plane.records.text_upserts import TextRecord, TextUpserts
from pinyon.services.data_plane.vectors import RawVector, Vectors
from pinyon.services.imports.sources import Source, SourceFile

TEXTS = 256
"""Texts of a batch: enough that texts of similar length share a model call, and few seconds of work."""


class RowBatch(msgspec.Struct):
    """Rows that are stored together: texts to embed, or records with their vectors. One of the lists is empty.

    last: the number of the last row of the file that was read for it. rows: the numbers of the texts. problems: rows
    that were refused before `last`. share: how much of the file has been read, 0..1; None if nobody knows.
    """

    file: SourceFile
    last: int
    share: float | None = None
    texts: list[TextRecord] = []
    rows: list[int] = []
    records: list[Record] = []
    problems: list[RowProblem] = []


class RowChecks:
    """Checks rows as Vectors and TextUpserts check what is sent to them.

    most_bytes: of the records of a batch, unless one record alone has more.
    """

    def __init__(self, vectors: Vectors, upserts: TextUpserts, most_bytes: int) -> None:
        self._vectors, self._upserts, self._most_bytes = vectors, upserts, most_bytes

    def batches(self, index: Index, source: Source, file: SourceFile, skip: int) -> Iterator[RowBatch]:
        """The rows of a file, after the first `skip`. Raises InvalidArgument if the file cannot be read."""
        text_field = None if index.spec.embed is None else index.spec.embed.text_field
        vector = SPARSE if index.spec.sparse else VALUES
        columns = Columns(needed=(vector,) if text_field is None else (text_field, vector))
        with source.open(file) as stream:
            batches = files.batches(stream, file.name, file.format, columns, skip)
            while True:
                try:
                    batch = next(batches, None)
                except OSError as error:
                    raise InvalidArgument(f"{file.name} cannot be read: {error.strerror or error}") from None
                if batch is None:
                    return
                yield from self._checked(index.spec, text_field, file, batch)

    def _checked(self, spec: IndexSpec, text_field: str | None, file: SourceFile, batch: Batch) -> Iterator[RowBatch]:
        in_order: list[tuple[int, Row | RowProblem]] = sorted(
            [*((row.number, row) for row in batch.rows), *((problem.row, problem) for problem in batch.problems)],
            key=itemgetter(0),
        )
        together, size = RowBatch(file, 0, batch.share), 0
        for number, row in in_order:
            checked = row if isinstance(row, RowProblem) else self._record(spec, text_field, file, row)
            if isinstance(checked, RowProblem):
                together.problems.append(checked)
                together.last = number
                continue
            if isinstance(checked, TextRecord):
                needed, ends = len(checked.encoded), bool(together.records) or len(together.texts) >= TEXTS
            else:
                needed, ends = sizes.of_record(checked), bool(together.texts)
            if ends or (size and size + needed > self._most_bytes):
                yield together
                together, size = RowBatch(file, 0, batch.share), 0
            if isinstance(checked, TextRecord):
                together.texts.append(checked)
                together.rows.append(number)
            else:
                together.records.append(checked)
            size += needed
            together.last = number
        yield together

    def _record(
        self, spec: IndexSpec, text_field: str | None, file: SourceFile, row: Row
    ) -> TextRecord | Record | RowProblem:
        where = f"Record '{row.id[:80]}'"
        brings_vector = row.sparse is not None if spec.sparse else row.values is not None
        try:
            if text_field is not None and not brings_vector:
                if row.sparse is not None:
                    raise InvalidArgument("It has sparse values, but no values; expected: both, or neither")
                return self._upserts.check({**row.fields, "_id": row.id}, where, text_field)
            sparse = None if row.sparse is None else (row.sparse.indices.tolist(), row.sparse.values.tolist())
            raw = RawVector(row.id, row.values, sparse, row.fields)
            return self._vectors.checked(spec, where, raw)
        except InvalidArgument as error:
            return RowProblem(file.name, row.number, error.message)
