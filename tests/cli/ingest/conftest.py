from pathlib import Path

import pytest

from tests.cli.ingest.ingested import Ingested
from tests.cli.transfer.commands import Pinyon
from tests.running import RunningServer


@pytest.fixture
def ingested(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, hash_server: RunningServer, namespace: str
) -> Ingested:
    (tmp_path / "docs").mkdir()
    return Ingested(Pinyon(capsys, tmp_path / "state"), hash_server.url, namespace, tmp_path / "docs")
