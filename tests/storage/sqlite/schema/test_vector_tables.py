"""Files whose vectors are laid out in another way than the engine knows are refused, and left as they are."""

from pathlib import Path

import numpy as np
import pytest
from pinyon.domain import IndexSpec, Record
from pinyon.errors import FailedPrecondition
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.engine import SqliteEngine
from pinyon.storage.sqlite.schema import vector_tables

pytestmark = pytest.mark.anyio

SPECS = [
    IndexSpec("docs", 3, "cosine"),
    IndexSpec("docs", 3, "dotproduct"),
    IndexSpec("docs", 4096, "euclidean"),
    IndexSpec("docs", 0, "dotproduct"),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
async def test_what_this_version_makes_it_opens_again(tmp_path: Path, spec: IndexSpec) -> None:
    for _ in range(2):
        engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
        if not engine.indexes():
            await engine.create_index(spec)
        assert engine.index("docs").spec == spec
        await engine.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("ALTER TABLE vectors_rowids ADD COLUMN extra", r"another layout \(vectors_rowids\)"),
        ("CREATE TABLE vectors_metadata00 (rowid, data)", r"another layout \(vectors_metadata00\)"),
        ("UPDATE vectors_info SET value = 'v9.0.0' WHERE key = 'CREATE_VERSION'", "made with sqlite-vec v9.0.0"),
    ],
)
async def test_another_layout_is_refused_at_the_start_and_the_file_stays(
    tmp_path: Path, change: str, message: str
) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    await engine.upsert("docs", "a", [Record("r", np.ones(2, np.float32), {})])
    await engine.close()
    connection = connect(tmp_path / "indexes" / "docs.sqlite", 0, "write")
    connection.execute(change)
    connection.close()
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    with pytest.raises(FailedPrecondition, match=message):
        engine.index("docs")
    await engine.close()
    assert (tmp_path / "indexes" / "docs.sqlite").exists()


async def test_no_index_is_made_by_a_library_that_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_tables, "KNOWN_VERSIONS", {"v9.9.9"})
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    with pytest.raises(FailedPrecondition, match=r"this Pinyon knows v9\.9\.9"):
        await engine.create_index(IndexSpec("docs", 2, "cosine"))
    assert engine.indexes() == []
    assert list((tmp_path / "indexes").iterdir()) == []
    await engine.close()


def test_only_one_module_spells_the_names_of_the_tables_of_sqlite_vec() -> None:
    app = Path(vector_tables.__file__).parents[3]
    names = list(vector_tables.LAYOUT)
    assert names == ["vectors_chunks", "vectors_info", "vectors_rowids", "vectors_vector_chunks00"]
    spelled_in = {path for path in app.rglob("*.py") if any(name in path.read_text() for name in names)}
    assert spelled_in == {Path(vector_tables.__file__)}
