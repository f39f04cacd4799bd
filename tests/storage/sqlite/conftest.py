"""The SQLite engine and its variants alone, for what the other engines do not promise."""

from pathlib import Path

import pytest

from tests.storage.conftest import SQLITE_VARIANTS, Open, opener


@pytest.fixture(params=["sqlite", *SQLITE_VARIANTS])
def open_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the test's one folder; call again after close() for a restart."""
    return opener(request.param, tmp_path)
