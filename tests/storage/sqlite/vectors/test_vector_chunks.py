"""Vectors written into sqlite-vec's tables directly are there as if it had written them itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.schema import vector_tables
from pinyon.storage.sqlite.vectors import vector_chunks

from tests.examples import examples

DIMENSION = 4
TABLES = ("vectors_chunks", "vectors_rowids", "vectors_vector_chunks00", "vectors_info", "sqlite_sequence")


def made(path: Path) -> apsw.Connection:
    connection = connect(path, 0, "write")
    vector_tables.create_vectors(connection, DIMENSION, "cosine")
    return connection


def inserted_by_vec0(connection: apsw.Connection, ns: int, new: list[vector_chunks.New]) -> None:
    connection.executemany(
        "INSERT INTO vectors (rowid, ns, embedding) VALUES (?, ?, ?)", [(row, ns, v.tobytes()) for row, v in new]
    )


def everything(connection: apsw.Connection) -> dict[str, list[Any]]:
    """Every row of every table behind the vec0 table, with the row ids it looks them up by."""
    row_id = {"vectors_info": "key", "sqlite_sequence": "name"}
    return {
        table: connection.execute(f"SELECT {row_id.get(table, '_rowid_')}, * FROM {table} ORDER BY 1").fetchall()
        for table in TABLES
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("chunks")


Operations = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(1, 2), st.sampled_from([1, 7, 8, 20, 63, 64, 65, 128, 200])),
        st.tuples(st.just("remove"), st.just(0), st.integers(1, 90)),
        st.tuples(st.just("empty"), st.integers(1, 2), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=examples(40))
@given(Operations, st.integers(0, 2**32 - 1))
def test_the_tables_are_the_same_byte_for_byte(folder: Path, operations: list[Any], seed: int) -> None:
    random = np.random.default_rng(seed)
    theirs, ours = made(folder / "theirs"), made(folder / "ours")
    held: dict[int, int] = {}
    following = 1
    for what, ns, many in operations:
        if what == "insert":
            new = [(following + n, random.random(DIMENSION, dtype=np.float32)) for n in range(many)]
            inserted_by_vec0(theirs, ns, new)
            vector_chunks.insert(ours, ns, new)
            held |= dict.fromkeys((row for row, _ in new), ns)
            following += many
        elif what == "remove":
            gone = random.permutation(sorted(held))[:many].tolist()
            for connection in (theirs, ours):
                vector_chunks.remove(connection, gone)
            held = {row: of for row, of in held.items() if row not in gone}
        else:
            for connection in (theirs, ours):
                vector_chunks.remove_all(connection, ns)
            held = {row: of for row, of in held.items() if of != ns}
        assert everything(ours) == everything(theirs)
    for connection in (theirs, ours):
        connection.close()
    for path in folder.iterdir():
        path.unlink()


def test_vec0_finds_and_changes_what_was_written_directly(tmp_path: Path) -> None:
    connection = made(tmp_path / "x")
    vectors = np.random.default_rng(0).random((150, DIMENSION), dtype=np.float32)
    vector_chunks.insert(connection, 1, list(enumerate(vectors, 1)))
    near = "SELECT rowid FROM vectors WHERE embedding MATCH ? AND ns = 1 AND k = 1"
    assert [connection.execute(near, (vector.tobytes(),)).get for vector in vectors[:100]] == list(range(1, 101))
    vector_chunks.update(connection, [(77, -vectors[3])])
    assert connection.execute(near, ((-vectors[3]).tobytes(),)).get == 77
    assert connection.execute("SELECT embedding FROM vectors WHERE rowid = 150").get == vectors[149].tobytes()
    connection.close()


def test_vectors_that_are_not_laid_out_in_one_piece_are_kept_as_they_are(tmp_path: Path) -> None:
    connection = made(tmp_path / "x")
    vectors = np.asfortranarray(np.random.default_rng(0).random((70, DIMENSION), dtype=np.float32))
    vector_chunks.insert(connection, 1, [(1, vectors[0])])
    vector_chunks.insert(connection, 1, list(enumerate(vectors[1:], 2)))
    kept = connection.execute("SELECT embedding FROM vectors ORDER BY rowid").fetchall()
    assert [blob for (blob,) in kept] == [vector.tobytes() for vector in vectors]
    connection.close()
