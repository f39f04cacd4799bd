"""The log is folded into the file beside the writes; nothing waits for it, and nothing is lost with it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from pinyon.storage.sqlite.connection.checkpoint import CheckpointPages
from pinyon.storage.sqlite.connection.writer import Writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.sqlite"


@pytest.fixture
def connection(path: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text)")
    yield connection
    connection.close()


SHORT = CheckpointPages(passive_from=20, restart_from=200)
"""A log is long from few pages on."""


def insert(n: int) -> Callable[[apsw.Connection], int]:
    def run(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO t VALUES (?, ?)", (n, "x" * 20_000))
        return n

    return run


class HeldUp:
    """Connections to a file that are made only once they may be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.begun, self.go = threading.Event(), threading.Event()

    def connect(self) -> apsw.Connection:
        self.begun.set()
        self.go.wait(60)
        return apsw.Connection(str(self._path))


def log_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


def test_writes_go_on_during_a_checkpoint(connection: apsw.Connection, path: Path) -> None:
    beside = HeldUp(path)
    writer = Writer(connection, beside.connect, "w", 1, pages=SHORT)
    assert [writer.submit(insert(n)).result(10) for n in range(10)] == list(range(10))
    assert beside.begun.wait(60)
    beside.go.set()
    writer.close()
    assert apsw.Connection(str(path)).execute("SELECT count(*) FROM t").get == 10


def test_the_log_stays_short_however_much_is_written(connection: apsw.Connection, path: Path) -> None:
    writer = Writer(connection, lambda: apsw.Connection(str(path)), "w", 1, pages=SHORT)
    for n in range(1_000):
        writer.submit(insert(n)).result(10)
    writer.close()
    assert log_bytes(path) < 250 * 4_200, "a page is 4,096 bytes, and a header"
    assert path.stat().st_size > 900 * 20_000


def test_a_log_that_cannot_be_folded_beside_the_writes_is_folded_between_them(
    connection: apsw.Connection, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def connect() -> apsw.Connection:
        raise apsw.CantOpenError("no")

    writer = Writer(connection, connect, "w", 1, pages=SHORT)
    for n in range(300):
        assert writer.submit(insert(n)).result(10) == n
    writer.close()
    assert f"the log of {path} could not be copied into the file: no" in caplog.text
    assert log_bytes(path) < 250 * 4_200


def test_a_checkpoint_that_fails_during_a_write_is_logged(
    connection: apsw.Connection, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun, writing, failed = threading.Event(), threading.Event(), threading.Event()

    def wait() -> int:
        writing.set()
        failed.wait(60)
        return 0

    def connect() -> apsw.Connection:
        begun.set()
        writing.wait(60)
        raise apsw.CantOpenError("no")

    connection.create_scalar_function("wait", wait, 0)
    writer = Writer(connection, connect, "w", 1, pages=SHORT)
    for n in range(4):
        writer.submit(insert(n)).result(10)
    assert begun.wait(60)
    done = writer.submit(lambda connection: connection.execute("SELECT wait()").get)
    for thread in threading.enumerate():
        if thread.name == "checkpoint":
            thread.join(10)
    failed.set()
    assert done.result(10) == 0
    writer.close()
    assert f"the log of {path} could not be copied into the file: no" in caplog.text


def test_without_another_thread_it_is_folded_between_the_writes(
    connection: apsw.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(connection, lambda: pytest.fail("no thread, no connection"), "w", 1, pages=SHORT)

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    for n in range(300):
        assert writer.submit(insert(n)).result(10) == n
    writer.close()
    assert log_bytes(path) < 60 * 4_200


def test_what_runs_outside_transactions_waits_for_the_checkpoint(connection: apsw.Connection, path: Path) -> None:
    beside = HeldUp(path)
    writer = Writer(connection, beside.connect, "w", 1, pages=SHORT)
    for n in range(10):
        writer.submit(insert(n)).result(10)
    assert beside.begun.wait(60)
    waited = writer.submit(lambda connection: beside.go.is_set(), bare=True)
    threading.Timer(0.05, beside.go.set).start()
    assert waited.result(10)
    emptied = writer.submit(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").get, bare=True)
    assert emptied.result(10) == (0, 0, 0)
    assert log_bytes(path) == 0
    writer.close()
