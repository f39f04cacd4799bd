"""A function in a process of its own: its result, its errors, its crash and its end."""

import os
import select
import signal
import threading
from pathlib import Path

import pytest
from pinyon.errors import FailedPrecondition
from pinyon.inference.child_process import IDLE_NICENESS, ChildProcess, Stopped


def own_process() -> tuple[int, int]:
    print("not part of the result")
    return os.getpid(), os.nice(0)


def not_possible() -> None:
    raise FailedPrecondition("the weights are damaged")


def defect() -> None:
    raise ZeroDivisionError("a defect")


def crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def begun(fifo: Path) -> None:
    fifo.write_text("begun")
    signal.pause()


def test_the_result_comes_from_another_process() -> None:
    process, niceness = ChildProcess().run(own_process)
    assert process != os.getpid()
    assert niceness == os.nice(0)


def test_in_the_background_every_other_process_goes_first() -> None:
    _, niceness = ChildProcess(background=True).run(own_process)
    assert niceness == IDLE_NICENESS


def test_errors_come_back() -> None:
    child = ChildProcess(background=True)
    with pytest.raises(FailedPrecondition, match="the weights are damaged"):
        child.run(not_possible)
    with pytest.raises(FailedPrecondition, match="ZeroDivisionError: a defect"):
        child.run(defect)


def test_a_crash_does_not_reach_this_process() -> None:
    with pytest.raises(FailedPrecondition, match="ended with status -9"):
        ChildProcess().run(crash)


def test_it_can_be_stopped_and_begins_nothing_afterwards(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    child = ChildProcess(background=True)
    outcomes: list[BaseException] = []

    def run() -> None:
        try:
            child.run(begun, fifo)
        except Stopped as stopped:
            outcomes.append(stopped)

    thread = threading.Thread(target=run)
    thread.start()
    assert select.select([reader], [], [], 120)[0], "the function was not begun"
    os.close(reader)
    child.stop()
    thread.join()
    assert len(outcomes) == 1
    with pytest.raises(Stopped):
        child.run(own_process)
