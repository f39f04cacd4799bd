from pathlib import Path

import pytest

from tests.cli.ingest.ingested import Ingested
from tests.cli.transfer.commands import Pinyon
from tests.running import RunningServer


@pytest.fixture
def pinyon(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Pinyon:
    return Pinyon(capsys, tmp_path / "state")


@pytest.fixture
def ingested(pinyon: Pinyon, tmp_path: Path, hash_server: RunningServer, namespace: str) -> Ingested:
    (tmp_path / "docs").mkdir()
    return Ingested(pinyon, hash_server.url, namespace, tmp_path / "docs")
