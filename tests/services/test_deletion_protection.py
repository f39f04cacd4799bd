"""Deletion protection holds for an index that is damaged while it is open."""

from pathlib import Path

import apsw
import numpy as np
import pytest
from pinyon.domain import IndexSpec, QueryPlan, Record
from pinyon.errors import DataLoss, PermissionDenied
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.control_plane.index_rules import IndexOptions
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.control_plane.readiness import Readiness
from pinyon.storage.sqlite.connection import page_checksums
from pinyon.storage.sqlite.engine import SqliteEngine

pytestmark = pytest.mark.anyio
ONES = np.ones(4, np.float32)


@pytest.mark.parametrize("protected", [True, False])
async def test_an_index_that_is_damaged_while_it_is_open_is_deleted_only_if_it_is_not_protected(
    tmp_path: Path, protected: bool
) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 2, 0)
    ports = range(5_081, 5_090)
    indexes = Indexes(engine, None, None, Addresses("localhost", 5_080, ports, ports), Readiness(lambda: None))  # type: ignore[arg-type]
    await indexes.create(IndexSpec("docs", 4, "cosine"), IndexOptions(deletion_protection=protected))
    await engine.upsert("docs", "", [Record("r1", ONES, {})])
    file = tmp_path / "indexes" / "docs.sqlite"
    connection = apsw.Connection(str(file), vfs=page_checksums.CHECKED)
    connection.execute("UPDATE records SET metadata = '{'")
    connection.close()
    with pytest.raises(DataLoss):
        await engine.query("docs", "", QueryPlan(1, vector=ONES))
    assert "docs" in engine.unusable()
    if protected:
        with pytest.raises(PermissionDenied, match="Deletion protection is enabled"):
            await indexes.delete("docs")
    else:
        await indexes.delete("docs")
    assert file.exists() == protected
    await engine.close()
