from pathlib import Path

import pytest

from tests.cli.transfer.commands import Pinyon


@pytest.fixture
def pinyon(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Pinyon:
    return Pinyon(capsys, tmp_path / "state")
