"""The sum of the vectors of a namespace fits its vectors, whatever was written, and in whatever order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pinyon.domain import (
    EmbedSpec,
    Fingerprint,
    IndexDetails,
    IndexSpec,
    Record,
    ReembeddedText,
    Selection,
    StoredText,
    UpdatePlan,
)
from pinyon.errors import NotFound
from pinyon.storage.shared.centroids import sum_of
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.records import reembedding, writing
from pinyon.storage.sqlite.schema import migrations, tables, vector_sums
from pinyon.storage.sqlite.upkeep import checking, rebuilding
from pinyon.storage.sqlite.vectors import vector_rows

from tests.examples import examples

DIMENSION = 3
SPEC = IndexSpec("docs", DIMENSION, "dotproduct", EmbedSpec("m", "text"))
NAMESPACES = ("a", "b")


def made(path: Path, spec: IndexSpec = SPEC) -> apsw.Connection:
    connection = connect(path, 0, "write")
    migrations.migrate(connection)
    tables.create_index(connection, spec)
    return connection


def sums(connection: apsw.Connection) -> dict[int, list[int]]:
    rows: Any = connection.execute("SELECT ns, sum FROM vector_sums").fetchall()
    return {ns: np.frombuffer(blob, np.int64).tolist() for ns, blob in rows if any(blob)}


def right_sums(connection: apsw.Connection) -> dict[int, list[int]]:
    """Sums of the stored vectors, row by row."""
    right: dict[int, list[int]] = {}
    namespaces: Any = connection.execute("SELECT ns FROM namespaces").fetchall()
    for (ns,) in namespaces:
        rows = vector_rows.row_numbers(connection, ns)
        units = [sum_of(vector_rows.vector_of(connection, int(row))[None, :]) for row in rows]
        if units and np.any(total := np.sum(units, axis=0)):
            right[ns] = total.tolist()
    return right


def record(id: int, random: np.random.Generator) -> Record:
    vector = (random.standard_normal(DIMENSION) * 10.0 ** random.integers(-20, 20)).astype(np.float32)
    return Record(str(id), vector * random.integers(0, 2, DIMENSION).astype(np.float32), {"text": "a word"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("sums")


Operations = st.lists(
    st.tuples(
        st.sampled_from(["upsert", "update", "delete", "delete all", "delete namespace"]),
        st.sampled_from(NAMESPACES),
        st.lists(st.integers(0, 30), min_size=1, max_size=25),
    ),
    max_size=12,
)


@settings(max_examples=examples(40))
@given(Operations, st.integers(0, 2**32 - 1))
def test_the_sum_is_exactly_that_of_the_stored_vectors(folder: Path, operations: list[Any], seed: int) -> None:
    random = np.random.default_rng(seed)
    connection = made(folder / "x.sqlite")
    try:
        for what, name, ids in operations:
            selection = Selection(ids=[str(id) for id in ids])
            try:
                if what == "upsert":
                    writing.upsert(connection, SPEC, name, [record(id, random) for id in ids])
                elif what == "update":
                    writing.update(connection, SPEC, name, UpdatePlan(selection, vector=record(0, random).vector))
                elif what == "delete namespace":
                    writing.delete_namespace(connection, SPEC, name)
                else:
                    writing.delete(connection, SPEC, name, selection if what == "delete" else Selection())
            except NotFound:
                continue
            assert sums(connection) == right_sums(connection)
        assert not checking.problems(connection)
        connection.close()
        rebuilding.rebuild(folder / "x.sqlite", folder / "new.sqlite")
        connection = connect(folder / "new.sqlite", 0, "write")
        assert sums(connection) == right_sums(connection)
    finally:
        connection.close()
        for file in folder.iterdir():
            file.unlink()


def test_the_centroid_is_the_mean_of_the_unit_vectors(tmp_path: Path) -> None:
    connection = made(tmp_path / "x.sqlite")
    vectors = np.array([[3, 0, 4], [0, 2, 0], [0, 0, 0]], np.float32)
    writing.upsert(connection, SPEC, "a", [Record(str(n), vector, {}) for n, vector in enumerate(vectors)])
    centroid = vector_sums.centroid(connection, SPEC, 1, 3).mean
    np.testing.assert_allclose(centroid, [0.2, 1 / 3, 0.8 / 3], atol=1e-9)
    connection.execute("DELETE FROM vector_sums")  # as in a file of an earlier version
    assert vector_sums.are_missing(connection, SPEC)
    np.testing.assert_array_equal(vector_sums.centroid(connection, SPEC, 1, 3).mean, centroid)
    vector_sums.rebuild(connection, SPEC)
    assert not vector_sums.are_missing(connection, SPEC)
    np.testing.assert_array_equal(vector_sums.centroid(connection, SPEC, 1, 3).mean, centroid)
    connection.close()


def test_an_index_has_sums_from_the_time_that_it_embeds_text(tmp_path: Path) -> None:
    plain = msgspec.structs.replace(SPEC, embed=None)
    connection = made(tmp_path / "x.sqlite", plain)
    writing.upsert(connection, plain, "a", [record(n, np.random.default_rng(n)) for n in range(20)])
    assert sums(connection) == {} and not vector_sums.are_missing(connection, plain)
    tables.configure(connection, 1, SPEC, IndexDetails())
    assert sums(connection) == right_sums(connection) != {}
    connection.close()


def test_a_reembedded_index_has_the_sums_of_its_new_vectors(tmp_path: Path) -> None:
    connection = made(tmp_path / "x.sqlite")
    random = np.random.default_rng(5)
    writing.upsert(connection, SPEC, "a", [record(n, random) for n in range(20)])
    target = msgspec.structs.replace(SPEC, dimension=7)
    embedded_by = Fingerprint("m", "m", "2", "mean", "", "", 7)
    reembedding.begin(connection, target, embedded_by)
    texts = [StoredText("a", str(n), "a word") for n in range(20)]
    vectors = random.standard_normal((20, 7)).astype(np.float32)
    embedded = [ReembeddedText(text, vector, False) for text, vector in zip(texts, vectors, strict=True)]
    reembedding.stage(connection, embedded_by, embedded)
    assert reembedding.switch(connection)
    assert sums(connection) == {1: sum_of(vectors).tolist()}
    assert not checking.problems(connection)
    connection.close()
