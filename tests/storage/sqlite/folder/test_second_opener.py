"""A data folder has one process that may write."""

from pathlib import Path

import pytest
from pinyon.errors import FailedPrecondition
from pinyon.storage.sqlite.engine import SqliteEngine

pytestmark = pytest.mark.anyio


async def test_a_second_opener_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    with pytest.raises(FailedPrecondition, match=r"in use by another Pinyon \(process \d+, since 20"):
        await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.close()
