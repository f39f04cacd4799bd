"""Rows in files: what is read of each format, what a message says, and what is written."""

import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon.domain import SparseVector
from pinyon.errors import PinyonError
from pinyon.formats import files
from pinyon.formats.layout import Columns
from pinyon.formats.rows import Batch, Format, Row, RowProblem, UnreadableFile, format_of

from tests.examples import examples

ANY = Columns()


def read(content: bytes, format: Format, columns: Columns = ANY, **how: Any) -> tuple[list[Row], list[str]]:
    """Every row, and every problem in words."""
    batches = list(files.batches(io.BytesIO(content), f"some.{format}", format, columns, **how))
    return [row for batch in batches for row in batch.rows], [str(one) for batch in batches for one in batch.problems]


def parquet(columns: dict[str, Any], **how: Any) -> bytes:
    arrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    stream = io.BytesIO()
    writer.write_table(arrow.table(columns), stream, **how)
    return stream.getvalue()


def plain(row: Row) -> tuple[Any, ...]:
    sparse = None if row.sparse is None else (row.sparse.indices.tolist(), row.sparse.values.tolist())
    return row.number, row.id, None if row.values is None else row.values.tolist(), sparse, row.fields


def test_the_end_of_a_name_says_the_format() -> None:
    names = ["a.jsonl", "b.NDJSON", "c.csv", "d.tsv", "e.parquet", "f.pq", "g.txt"]
    assert [format_of(name) for name in names] == ["jsonl", "jsonl", "csv", "tsv", "parquet", "parquet", None]


PINECONES = (1, "a", [0.5, 0.25], ([7, 4294967295], [1.5, 2.0]), {"year": 1999, "tags": ["x"]})
PLAIN = (1, "a", None, None, {"text": "hello, world", "year": 1999, "good": True})


def test_json_lines_in_pinecones_layout_and_as_plain_records() -> None:
    line = b'{"id":"a","values":[0.5,0.25],"sparse_values":{"indices":[7,4294967295],"values":[1.5,2]},"metadata":%s}\n'
    for metadata in (b'{"year":1999,"tags":["x"]}', b'"{\\"year\\":1999,\\"tags\\":[\\"x\\"]}"'):
        rows, problems = read(line % metadata, "jsonl")
        assert [plain(row) for row in rows] == [PINECONES]
        assert not problems
    rows, problems = read(b'\xef\xbb\xbf{"_id": "a", "text": "hello, world", "year": 1999, "good": true}\n', "jsonl")
    assert [plain(row) for row in rows] == [PLAIN]
    assert not problems


def test_csv_and_tsv() -> None:
    rows, problems = read(b'id,text,year,good,nothing\r\na,"hello, world",1999,true,\r\n', "csv")
    assert [plain(row) for row in rows] == [PLAIN]
    assert not problems
    rows, problems = read(b"id\tvalues\tmetadata\na\t[0.5, 0.25]\t{}\n", "tsv")
    assert [plain(row) for row in rows] == [(1, "a", [0.5, 0.25], None, {})]
    assert not problems


def test_parquet_in_pinecones_layout_and_as_plain_records() -> None:
    sparse = [{"indices": [7, 4294967295], "values": [1.5, 2.0]}]
    content = parquet(
        {"id": ["a"], "values": [[0.5, 0.25]], "sparse_values": sparse, "metadata": ['{"year":1999,"tags":["x"]}']}
    )
    assert [plain(row) for row in read(content, "parquet")[0]] == [PINECONES]
    content = parquet({"_id": ["a"], "text": ["hello, world"], "year": [1999], "good": [True], "nothing": [None]})
    assert [plain(row) for row in read(content, "parquet")[0]] == [PLAIN]


def test_every_type_of_list_in_parquet_gives_the_same_vectors() -> None:
    arrow = pytest.importorskip("pyarrow")
    vectors = [[1.0, 2.0], None, [3.0, 4.0]]
    for kind in (
        arrow.list_(arrow.float32()),
        arrow.list_(arrow.float64()),
        arrow.list_(arrow.int64()),
        arrow.large_list(arrow.float32()),
        arrow.list_(arrow.float32(), 2),
    ):
        content = parquet({"id": ["a", "b", "c"], "values": arrow.array(vectors, kind)})
        rows, problems = read(content, "parquet")
        assert [plain(row)[2] for row in rows] == vectors, kind
        assert not problems


def test_times_in_parquet_become_text() -> None:
    from datetime import UTC, date, datetime

    content = parquet({"id": ["a"], "day": [date(2026, 1, 2)], "moment": [datetime(2026, 1, 2, 3, tzinfo=UTC)]})
    assert read(content, "parquet")[0][0].fields == {"day": "2026-01-02", "moment": "2026-01-02T03:00:00+00:00"}


def test_whole_numbers_are_ids_too() -> None:
    assert read(b'{"id": 7}', "jsonl")[0][0].id == "7"
    assert read(b"id,x\n007,y\n", "csv")[0][0].id == "007"
    assert read(parquet({"id": [7]}), "parquet")[0][0].id == "7"


def test_columns_get_other_names() -> None:
    columns = Columns(id="key", names={"title": "chunk_text", "embedding": "values"})
    rows, _ = read(b'{"key": "a", "title": "hello", "embedding": [1], "id": "x"}', "jsonl", columns)
    assert [plain(row) for row in rows] == [(1, "a", [1.0], None, {"chunk_text": "hello", "id": "x"})]


def test_a_column_of_csv_is_a_number_only_if_every_cell_is_one() -> None:
    content = b"id,year,price,zip,good,mixed\na,1,1,007,true,1\nb,2,2.5,8,False,n/a\nc,,,,,\n"
    rows, problems = read(content, "csv")
    assert [row.fields for row in rows] == [
        {"year": 1, "price": 1.0, "zip": "007", "good": True, "mixed": "1"},
        {"year": 2, "price": 2.5, "zip": "8", "good": False, "mixed": "n/a"},
        {},
    ]
    assert not problems
    stream = io.BytesIO(content)
    types = files.infer_types(stream, "some.csv", "csv", most=1)
    assert types == {"year": "integer", "price": "integer", "zip": "text", "good": "boolean", "mixed": "integer"}
    rows, problems = read(stream.read(), "csv", Columns(types=types))
    assert problems == [
        "some.csv, row 2, column 'price': there is '2.5'; expected: a whole number",
    ]
    assert [row.id for row in rows] == ["a", "c"]


@pytest.mark.parametrize(
    ("format", "content", "problem"),
    [
        ("jsonl", b'{"id": "a", "values": ["x"]}', "row 1, column 'values': there is [\"x\"]; expected: a list of numbers"),
        ("jsonl", b'\n{"id": "a", "values": [true]}', "row 2, column 'values': there is [true]; expected: a list of numbers"),
        ("jsonl", b'{"id": "a", "sparse_values": {"indices": [1]}}', "column 'sparse_values': there is {\"indices\":[1]}; expected: an object with 'indices' and 'values'"),
        ("jsonl", b'{"id": "a", "sparse_values": {"indices": [-1], "values": [1]}}', "there is [-1]; expected: indices from 0 to 4294967295"),
        ("jsonl", b'{"id": "a", "sparse_values": {"indices": [1], "values": [1, 2]}}', "there are 1 indices and 2 values; expected: as many"),
        ("jsonl", b'{"id": "a", "metadata": "no"}', "column 'metadata': there is \"no\"; expected: a JSON object of fields"),
        ("jsonl", b'{"id": "a", "x": 1, "metadata": {"x": 2}}', "it has the field 'x', which is also a column"),
        ("jsonl", b'{"id": 1.5}', "column 'id': there is 1.5; expected: an id: text that is not empty"),
        ("jsonl", b'{"text": "a"}', "row 1: there is no column of ids; the columns are: 'text'; expected: 'id' or '_id'"),
        ("jsonl", b"[1]", "row 1: there is a JSON array; expected: one JSON object a line"),
        ("jsonl", b"no", "row 1: the line is no JSON: "),
        ("jsonl", b"\xff", "row 1: the line is no JSON: "),
        ("jsonl", b"[" * 100_000, "row 1: the line is no JSON: "),
        ("csv", b"id,text\na\n", "some.csv, row 1: there are 1 cells; expected: 2, as in the header"),
        ("csv", b"id,text\n,x\n", "some.csv, row 1, column 'id': the id is empty"),
        ("csv", b"id,values\na,[1\n", "row 1, column 'values': there is '[1'; expected: JSON"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_named(format: Format, content: bytes, problem: str) -> None:
    rows, problems = read(content, format)
    assert not rows
    assert problem in problems[0]


def test_the_rows_around_a_wrong_one_are_read() -> None:
    rows, problems = read(b'{"id": "a"}\nno\n{"id": "c"}\n', "jsonl")
    assert [(row.number, row.id) for row in rows] == [(1, "a"), (3, "c")]
    assert len(problems) == 1


def test_a_line_that_never_ends_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinyon.formats.jsonl.LONGEST_LINE", 100)
    rows, problems = read(b'{"id": "' + b"a" * 1_000 + b'"}\n{"id": "b"}\n', "jsonl")
    assert [plain(row)[:2] for row in rows] == [(2, "b")]
    assert problems == ["some.jsonl, row 1: the line is longer than 100 bytes"]
    monkeypatch.setattr("pinyon.formats.delimited.LONGEST_LINE", 100)
    with pytest.raises(UnreadableFile, match=r"some.csv, row 1: it cannot be read: a line is longer than 100 bytes"):
        read(b"id\n" + b"a" * 1_000, "csv")


@pytest.mark.parametrize(
    ("format", "content", "problem"),
    [
        ("csv", b"", "some.csv: the file has no header"),
        ("csv", b"a,b\n1,2\n", "some.csv: there is no column of ids; the columns are: 'a', 'b'; expected: 'id' or '_id'"),
        ("csv", b"id,a,a\n1,2,3\n", "some.csv: two columns are named 'a'"),
        ("csv", b'id\na\n"b\n', "some.csv, row 2: it cannot be read: unexpected end of data"),
        ("csv", b"id\na\n\xff\n", "some.csv, row 2: it cannot be read: 'utf-8'"),
        ("parquet", b"no", "some.parquet: it is no Parquet file"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named(format: Format, content: bytes, problem: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    with pytest.raises(UnreadableFile) as refused:
        read(content, format)
    assert problem in refused.value.message


def test_a_damaged_parquet_file_says_where_and_gives_what_was_read_before() -> None:
    content = bytearray(parquet({"id": [f"{n:06}" for n in range(4_000)]}, row_group_size=1_000, compression="zstd"))
    content[len(content) // 2 : len(content) // 2 + 2_000] = bytes(2_000)
    batches = files.batches(io.BytesIO(bytes(content)), "some.parquet", "parquet", most=500)
    rows = 0
    with pytest.raises(UnreadableFile, match=r"some.parquet, row \d+ or one after it: it cannot be read"):
        for batch in batches:
            rows += len(batch.rows)
    assert 0 < rows < 4_000


def test_columns_that_are_not_enough_are_listed_with_the_expected_ones() -> None:
    columns = Columns(needed=("chunk_text", "values"))
    with pytest.raises(
        UnreadableFile, match="the columns are: 'id', 'body'; expected beside the id: 'chunk_text' or 'values'"
    ):
        read(parquet({"id": ["a"], "body": ["b"]}), "parquet", columns)
    _, problems = read(b'{"id": "a", "body": "b", "values": null}', "jsonl", columns)
    assert problems == [
        "some.jsonl, row 1: the columns with a value are: 'id', 'body'; expected beside the id: 'chunk_text' or 'values'"
    ]
    assert not read(b'{"id": "a", "metadata": {"chunk_text": "b"}}', "jsonl", columns)[1]
    with pytest.raises(UnreadableFile, match=r"column 'x': its type is struct<.*>; expected: text, numbers"):
        read(parquet({"id": ["a"], "x": [{"y": 1}]}), "parquet")


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_a_pipe_gives_lines_but_no_parquet() -> None:
    (batch,) = files.batches(Pipe(b'{"id": "a"}\n'), "-", "jsonl")
    assert batch.share == 1.0
    for format in ("parquet", "csv"):
        with pytest.raises(UnreadableFile, match="pipe"):
            list(files.batches(Pipe(b"id\na\n"), "-", format))
    (batch,) = files.batches(Pipe(b"id,n\na,1\n"), "-", "csv", Columns(types={"n": "integer"}))
    assert batch.rows[0].fields == {"n": 1}


def contents() -> Iterator[tuple[Format, bytes]]:
    yield "jsonl", b"".join(b'{"id": "%d"}\n' % n if n % 7 else b"no\n" for n in range(1, 101))
    yield "csv", b"id\n" + b"".join(b"%d\n" % n for n in range(1, 101))


@pytest.mark.parametrize(("format", "content"), list(contents()))
def test_reading_goes_on_after_any_row(format: Format, content: bytes) -> None:
    whole = list(files.batches(io.BytesIO(content), "f", format, most=9))
    rows = [row.number for batch in whole for row in batch.rows]
    assert [batch.share for batch in whole] == sorted(batch.share or 0 for batch in whole)
    for batch in whole:
        rest = read(content, format, skip=batch.last, most=13)[0]
        assert [row.number for row in rest] == [number for number in rows if number > batch.last]


@pytest.mark.parametrize("skip", [0, 1, 499, 500, 501, 999, 1_000, 1_001, 2_345, 3_000])
def test_reading_a_parquet_file_goes_on_after_any_row(skip: int) -> None:
    ids = [str(n) for n in range(1, 3_001)]
    rows, _ = read(parquet({"id": ids}, row_group_size=1_000), "parquet", skip=skip)
    assert [row.id for row in rows] == ids[skip:]
    assert [row.number for row in rows] == list(range(skip + 1, 3_001))


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
VECTORS = st.lists(FLOATS, min_size=1, max_size=5).map(lambda numbers: np.asarray(numbers, np.float32))
SPARSE = st.dictionaries(st.integers(0, 2**32 - 1), FLOATS, min_size=1, max_size=5).map(
    lambda terms: SparseVector(np.asarray(list(terms), np.uint32), np.asarray(list(terms.values()), np.float32))
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
FIELDS = st.dictionaries(
    TEXTS,
    st.one_of(
        TEXTS,
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(TEXTS),
    ),
    max_size=4,
)
ROWS = st.lists(
    st.builds(Row, st.just(0), TEXTS.filter(bool), st.none() | VECTORS, st.none() | SPARSE, FIELDS), max_size=6
)


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
@settings(max_examples=examples(60), deadline=None)
@given(rows=ROWS)
def test_what_is_written_is_read_to_the_last_bit(format: Format, rows: list[Row]) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    stream = io.BytesIO()
    writer = files.writer(stream, format)
    for row in rows:
        writer.write([row])
    writer.close()
    back, problems = read(stream.getvalue(), format)
    assert not problems
    assert list(map(plain, back)) == [
        plain(Row(number, row.id, row.values, row.sparse, row.fields)) for number, row in enumerate(rows, start=1)
    ]
    for one, other in zip(rows, back, strict=True):
        assert one.values is None or one.values.tobytes() == other.values.tobytes()  # type: ignore[union-attr]


def test_a_parquet_file_has_many_row_groups_and_only_the_columns_that_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("pinyon.formats.parquet.GROUP_ROWS", 10)
    stream = io.BytesIO()
    writer = files.writer(stream, "parquet", sparse=False)
    writer.write([Row(n, str(n), np.full(2, n, np.float32)) for n in range(25)])
    writer.close()
    file = reader.ParquetFile(stream)
    assert file.num_row_groups == 3
    assert file.schema_arrow.names == ["id", "values", "metadata"]


def test_csv_is_not_written() -> None:
    with pytest.raises(UnreadableFile, match="allowed are: jsonl, parquet"):
        files.writer(io.BytesIO(), "csv")


def test_batches_are_small() -> None:
    content = b"".join(b'{"id": "%d", "values": [1, 2, 3, 4]}\n' % n for n in range(100))
    sizes = [len(batch.rows) for batch in files.batches(io.BytesIO(content), "f", "jsonl", most=30)]
    assert sizes == [30, 30, 30, 10]


def test_without_pyarrow_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PinyonError, match=r"pip install 'pinyon\[parquet\]'"):
        list(files.batches(io.BytesIO(b"x"), "a.parquet", "parquet"))


def test_pyarrow_is_imported_only_for_parquet() -> None:
    code = (
        "import io, sys; from pinyon.formats import files; "
        "list(files.batches(io.BytesIO(b'{\"id\": \"a\"}'), 'f', 'jsonl')); print('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_problem_names_file_row_and_column() -> None:
    assert str(RowProblem("f.csv", 3, "it is empty", "id")) == "f.csv, row 3, column 'id': it is empty"
    assert Batch([], [], 0, None).share is None
