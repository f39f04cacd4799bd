"""The one thread that writes to a file. Several writes share a commit.

Waiting writes run one after another in one transaction, so that they share the wait for the disk. Each write after the
first runs in a savepoint, so it can fail without the others. A caller gets its result only when the commit is on disk.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import apsw
import msgspec

from pinyon.storage.sqlite.connection.checkpoint import PAGES, Checkpoint, CheckpointPages
from pinyon.storage.sqlite.transaction import Transaction

T = TypeVar("T")

LONGEST_GROUP_S = 0.01
"""After this many seconds no more writes join a transaction, because the first write waits for the last."""


class Job(msgspec.Struct, frozen=True):
    """A function to run on the connection. done: tells the caller. bare: run it outside any transaction."""

    function: Callable[[apsw.Connection], Any]
    done: "Future[Any]"
    bare: bool

    def begin(self) -> bool:
        """Start the job, which then cannot be cancelled. Returns False if it was cancelled before."""
        return self.done.set_running_or_notify_cancel()


class Outcome(msgspec.Struct, frozen=True):
    """What a function returned, or what it raised."""

    result: Any = None
    failure: BaseException | None = None


class AfterGroup(msgspec.Struct, frozen=True):
    """What follows a group. closed: no more jobs will come. bare: a job that was taken from the queue but not run."""

    closed: bool = False
    bare: Job | None = None


class Writer:
    """Runs functions on a connection. Call close() at the end.

    A function may run twice; then the first run is rolled back.

    connect: makes another connection. most_in_group: how many writes may share a commit. number: reads the number of
    the last write. committed: is called with this number after each commit, before the callers get their results.
    checkpointed, pages: as in Checkpoint.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        connect: Callable[[], apsw.Connection],
        name: str,
        most_in_group: int,
        number: Callable[[apsw.Connection], int] = lambda _: 0,
        committed: Callable[[int], None] = lambda _: None,
        checkpointed: Callable[[int], None] = lambda _: None,
        pages: CheckpointPages = PAGES,
    ) -> None:
        self._connection, self._most = connection, most_in_group
        self._number, self._committed = number, committed
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._checkpoint = Checkpoint(connection, connect, number, checkpointed, pages)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[apsw.Connection], T], bare: bool = False) -> "Future[T]":
        """Queue the function. Its future gets the result when that is on disk, or the error when nothing is left of it.

        bare: run it outside any transaction.
        """
        done: Future[T] = Future()
        self._jobs.put(Job(function, done, bare))
        return done

    def close(self) -> None:
        """Run all submitted functions, then end the thread."""
        self._jobs.put(None)
        self._thread.join()
        self._checkpoint.finish()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            after = AfterGroup()
            if not job.bare and job.begin():
                after = self._run_group(job)
            bare = job if job.bare else after.bare
            if bare is not None and bare.begin():
                self._checkpoint.finish()
                self._deliver(bare, self._run_bare(bare))
            if after.closed:
                return
            self._checkpoint.advance()

    def _run_group(self, job: Job) -> AfterGroup:
        """Run this job, and the jobs that wait behind it, in one transaction."""
        group, outcomes, after = [job], list[Outcome](), AfterGroup()
        start = time.monotonic()
        try:
            with Transaction(self._connection, "IMMEDIATE"):
                outcomes.append(Outcome(job.function(self._connection)))  # if it fails, the transaction is empty
                while len(group) < self._most and time.monotonic() - start < LONGEST_GROUP_S and not self._jobs.empty():
                    following = self._jobs.get()
                    if following is None:
                        after = AfterGroup(closed=True)
                        break
                    if following.bare:
                        after = AfterGroup(bare=following)
                        break
                    if following.begin():
                        group.append(following)
                        outcomes.append(self._run_in_savepoint(following))
        except BaseException as error:
            # One write, or the commit, ended the whole transaction. So each write runs again in its own.
            outcomes = [self._run_alone(each) for each in group] if len(group) > 1 else [Outcome(failure=error)]
        if any(outcome.failure is None for outcome in outcomes):
            with contextlib.suppress(apsw.Error):  # the writes are committed, so their callers must get a result
                self._committed(self._number(self._connection))
        for each, outcome in zip(group, outcomes, strict=True):
            self._deliver(each, outcome)
        return after

    def _deliver(self, job: Job, outcome: Outcome) -> None:
        if outcome.failure is None:
            job.done.set_result(outcome.result)
        else:
            job.done.set_exception(outcome.failure)

    def _run_bare(self, job: Job) -> Outcome:
        try:
            return Outcome(job.function(self._connection))
        except BaseException as error:
            return Outcome(failure=error)

    def _run_in_savepoint(self, job: Job) -> Outcome:
        """Run a job in the transaction of its group. Raises the job's error if that has ended the transaction."""
        self._connection.execute("SAVEPOINT one")
        outcome: Outcome
        try:
            outcome = Outcome(job.function(self._connection))
        except BaseException as error:
            if not self._connection.in_transaction:  # for example because the disk is full
                raise
            self._connection.execute("ROLLBACK TO one")
            outcome = Outcome(failure=error)
        self._connection.execute("RELEASE one")
        return outcome

    def _run_alone(self, job: Job) -> Outcome:
        try:
            with Transaction(self._connection, "IMMEDIATE"):
                return Outcome(job.function(self._connection))
        except BaseException as error:
            return Outcome(failure=error)
