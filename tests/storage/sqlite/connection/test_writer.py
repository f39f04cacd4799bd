"""Several writes to a commit: each succeeds or fails alone, and nobody is answered before the commit."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import apsw
import pytest
from pinyon.storage.sqlite.connection.writer import Writer


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(tmp_path / "x.sqlite"))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    yield connection
    connection.close()


def started(connection: apsw.Connection, most: int) -> Writer:
    return Writer(connection, lambda: apsw.Connection(connection.filename), "w", most)


def insert(*numbers: int, then: BaseException | None = None) -> Callable[[apsw.Connection], int]:
    def run(connection: apsw.Connection) -> int:
        for number in numbers:
            connection.execute("INSERT INTO t VALUES (?)", (number,))
        if then is not None:
            raise then
        return numbers[0]

    return run


def together(writer: Writer, *functions: Callable[[apsw.Connection], int]) -> list["Future[int]"]:
    """Submit all while the writer is held up, so that they wait together; done when all are answered."""
    go = threading.Event()
    writer.submit(lambda connection: go.wait(60))
    waiting = [writer.submit(function) for function in functions]
    go.set()
    for each in waiting:
        each.exception(10)
    return waiting


def numbers(connection: apsw.Connection) -> list[int]:
    return [n for (n,) in connection.execute("SELECT n FROM t ORDER BY n")]


@pytest.mark.parametrize(("most", "commits"), [(64, 2), (2, 6), (1, 11)])
def test_waiting_writes_share_commits(connection: apsw.Connection, most: int, commits: int) -> None:
    seen: list[int] = []
    connection.set_commit_hook(lambda: bool(seen.append(1)))
    writer = started(connection, most)
    # The one that holds them up is over the time of a group, so that nothing joins it.
    found = together(writer, *(insert(n) for n in range(10)))
    writer.close()
    assert [each.result() for each in found] == list(range(10))
    assert numbers(connection) == list(range(10))
    assert len(seen) <= commits


def test_one_that_fails_leaves_nothing_and_the_others_are_stored(connection: apsw.Connection) -> None:
    writer = started(connection, 64)
    good, bad, clash, last = together(writer, insert(1), insert(2, 3, then=ValueError("no")), insert(4, 1), insert(5))
    writer.close()
    assert (good.result(), last.result()) == (1, 5)
    with pytest.raises(ValueError, match="no"):
        bad.result()
    with pytest.raises(apsw.ConstraintError):
        clash.result()
    assert numbers(connection) == [1, 5]


def test_one_that_fails_before_others_have_joined_it_leaves_nothing(connection: apsw.Connection) -> None:
    writer = started(connection, 64)
    bad, good = together(writer, insert(2, 3, then=ValueError("no")), insert(3))
    writer.close()
    with pytest.raises(ValueError, match="no"):
        bad.result()
    assert good.result() == 3
    assert numbers(connection) == [3]


def test_one_that_ends_the_transaction_takes_nobody_with_it(connection: apsw.Connection) -> None:
    """As some errors of the disk do."""

    def full(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO t VALUES (2)")
        connection.execute("ROLLBACK")
        raise apsw.FullError("disk full")

    writer = started(connection, 64)
    before, ended, after = together(writer, insert(1), full, insert(3))
    writer.close()
    assert (before.result(), after.result()) == (1, 3)
    with pytest.raises(apsw.FullError):
        ended.result()
    assert numbers(connection) == [1, 3]


def test_a_commit_that_fails_is_tried_for_each(connection: apsw.Connection) -> None:
    left = [True, True, False, True, False]  # refuse: the group, 1 alone, not 2 alone, 3 alone, not 4 alone

    writer = started(connection, 64)
    go = threading.Event()
    writer.submit(lambda connection: go.wait(60)).add_done_callback(
        lambda _: connection.set_commit_hook(lambda: left.pop(0))
    )
    waiting = [writer.submit(insert(n)) for n in (1, 2, 3, 4)]
    threading.Timer(0.05, go.set).start()  # over the time of a group
    outcomes = [each.exception(10) for each in waiting]
    writer.close()
    assert [type(outcome) for outcome in outcomes] == [
        apsw.ConstraintError,
        type(None),
        apsw.ConstraintError,
        type(None),
    ]
    connection.set_commit_hook(None)
    assert numbers(connection) == [2, 4]


def test_no_answer_before_the_commit(connection: apsw.Connection, tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "x.sqlite"))
    writer = started(connection, 64)
    seen: list[list[int]] = []
    for n in range(50):
        writer.submit(insert(n)).add_done_callback(lambda _: seen.append(numbers(other)))
    writer.close()
    assert all(len(found) > place for place, found in enumerate(seen))
    assert len(seen) == 50
    other.close()


def test_a_write_cancelled_before_its_turn_is_not_made(connection: apsw.Connection) -> None:
    writer = started(connection, 64)
    go = threading.Event()
    writer.submit(lambda connection: go.wait(60))
    dropped, made, also_dropped = (writer.submit(insert(n)) for n in (1, 2, 3))
    assert dropped.cancel()
    assert also_dropped.cancel()
    go.set()
    assert made.result(10) == 2
    writer.close()
    assert numbers(connection) == [2]
