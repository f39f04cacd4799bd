"""`pinyon serve` and its database: which of them is started first, and what happens while the database is away."""

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pinyon.cli.main import main

from tests.postgres.server import UNSAFE, Server, make_folder
from tests.running import GIVEN_UP_S, RunningServer, config


@pytest.fixture
def database() -> Iterator[Server]:
    """A database server that is not started yet."""
    server = Server(make_folder(), UNSAFE)
    server.initialise()
    yield server
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)


def patient(seconds: float) -> tuple[str, ...]:
    """A `pinyon` whose start waits so long for its database."""
    return "tests.postgres.patient_server", str(seconds)


def settings_with(folder: Path, dsn: str) -> Path:
    return config(folder, more=f'[storage]\nengine = "postgres"\ndsn = "{dsn}"\n')


def asked_until(client: httpx.Client, status: int) -> httpx.Response:
    """The first answer of /ready with this status."""
    deadline = time.monotonic() + GIVEN_UP_S
    while (answer := client.get("/ready")).status_code != status:
        assert time.monotonic() < deadline, answer.text
    return answer


@pytest.mark.slow
def test_a_server_is_ready_while_its_database_answers_and_alive_all_the_time(tmp_path: Path, database: Server) -> None:
    settings = settings_with(tmp_path, database.dsn)
    server = RunningServer(settings, tmp_path / "absent", wait=False, program=patient(GIVEN_UP_S))
    with server.client() as client:
        server.wait_for("the start waits for up to 300 s: The database does not answer: connection")
        assert client.get("/ready").json()["message"] == "Not ready: the database does not answer"
        assert client.get("/health").status_code == 200
        assert client.get("/indexes").status_code == 503, "before the keys are known, nobody is let in or sent away"
        database.start()
        server.wait_for("is ready on")
        assert client.get("/ready").status_code == 200
        assert "pinyon_ready 1.0" in client.get("/metrics").text
        database.stop()
        assert asked_until(client, 503).json()["message"] == "Not ready: the database does not answer"
        assert client.get("/health").status_code == 200
        database.start()
        asked_until(client, 200)
        assert client.get("/describe_index_stats").status_code == 200
    assert server.stop() == 0, server.text
    assert "Traceback" not in server.text


@pytest.mark.slow
def test_a_start_gives_up_a_database_that_stays_away_with_a_sentence_and_a_failure(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, "host=/nonexistent user=ada password=opensesame")
    server = RunningServer(settings, tmp_path / "absent", wait=False, program=patient(1))
    server.wait_for("pinyon: The database does not answer: connection")
    assert server.ended() == 1
    assert "is ready on" not in server.text
    assert "Traceback" not in server.text
    assert "opensesame" not in server.text


@pytest.mark.parametrize(
    ("dsn", "sentence"),
    [
        ("host=/nonexistent user=ada password=opensesame", "The database does not answer: connection"),
        ("postgresql//ada:opensesame@localhost", "[storage] dsn is not a connection string of PostgreSQL"),
        ("postgresql://ada:opensesame%zz@localhost", "[storage] dsn is not a connection string of PostgreSQL"),
        ("", '[storage] engine = "postgres" needs a database: set [storage] dsn'),
    ],
)
def test_a_command_says_what_is_wrong_with_the_database_and_never_the_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dsn: str, sentence: str
) -> None:
    assert main(["keys", "list", "--config", str(settings_with(tmp_path, dsn))]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"pinyon: {sentence}")
    assert "opensesame" not in said


def test_a_start_without_the_extra_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = sys.modules["pinyon.storage"]
    monkeypatch.setattr(storage, "postgres", getattr(storage, "postgres", None), raising=False)  # it is put back
    for name in [name for name in sys.modules if name.startswith(("psycopg", "pinyon.storage.postgres"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert main(["keys", "list", "--config", str(settings_with(tmp_path, "host=localhost"))]) == 1
    said = "pinyon: [storage] engine = \"postgres\" needs the package psycopg: pip install 'pinyon[postgres]'\n"
    assert capsys.readouterr().err == said
