"""The one thread that writes to a file, several writes to a commit.

Waiting writes are run one after another in one transaction, those that join it each in a savepoint, and share the wait
for the disk. Each still succeeds or fails alone, and is answered only once the commit is on disk.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import apsw

from pinyon.storage.sqlite.connection.checkpoint import Folding
from pinyon.storage.sqlite.transaction import Transaction

T = TypeVar("T")

LONGEST_GROUP_S = 0.01
"""After this long no further write joins a group: the first of it waits for the last."""

Job = tuple[Callable[[apsw.Connection], Any], "Future[Any]", bool]
"""A function, who waits for it, and whether it is run outside any transaction."""
Outcome = tuple[Any, BaseException | None]


class Writer:
    """Runs functions on a connection. Functions may be run twice, the first time without effect. Must be closed.

    connect: makes another connection. most_in_group: writes that may share a commit; 1 for a commit each. number: of
    the last write. committed: told the number after each commit, before anybody else is. folded: as in Folding.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        connect: Callable[[], apsw.Connection],
        name: str,
        most_in_group: int,
        number: Callable[[apsw.Connection], int] = lambda _: 0,
        committed: Callable[[int], None] = lambda _: None,
        folded: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._connection, self._most = connection, most_in_group
        self._number, self._committed = number, committed
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._folding = Folding(connection, connect, number, folded)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[apsw.Connection], T], bare: bool = False) -> "Future[T]":
        """What the function returns or raises, once it is on disk, or nothing of it is.

        bare: run it outside any transaction.
        """
        done: Future[T] = Future()
        self._jobs.put((function, done, bare))
        return done

    def close(self) -> None:
        """Finish what was submitted, and end the thread."""
        self._jobs.put(None)
        self._thread.join()
        self._folding.finish()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            more = True
            while job is not None and job[1].set_running_or_notify_cancel():
                if job[2]:
                    self._folding.finish()
                    self._settle(job, self._bare(job))
                    break
                more, job = self._group(job)
            if not more:
                return
            self._folding.go_on()

    def _group(self, job: Job) -> tuple[bool, Job | None]:
        """Run this job, and what waits behind it, in one transaction.

        Returns whether there may be more, and one that was taken but does not go into a transaction.
        """
        group, outcomes, more, left = [job], list[Outcome](), True, None
        begun = time.monotonic()
        try:
            with Transaction(self._connection, "IMMEDIATE"):
                outcomes.append((job[0](self._connection), None))  # if it fails, the transaction has nothing else in it
                while len(group) < self._most and time.monotonic() - begun < LONGEST_GROUP_S and not self._jobs.empty():
                    following = self._jobs.get()
                    if following is None:
                        more = False
                        break
                    if following[2]:
                        left = following
                        break
                    if following[1].set_running_or_notify_cancel():
                        group.append(following)
                        outcomes.append(self._run(following))
        except BaseException as error:
            # Somebody's write took all with it, or the commit did: each tries for itself.
            outcomes = [self._alone(each) for each in group] if len(group) > 1 else [(None, error)]
        if any(failure is None for _, failure in outcomes):
            with contextlib.suppress(apsw.Error):  # it is committed; whoever waits for it is told so in any case
                self._committed(self._number(self._connection))
        for each, outcome in zip(group, outcomes, strict=True):
            self._settle(each, outcome)
        return more, left

    def _settle(self, job: Job, outcome: Outcome) -> None:
        result, failure = outcome
        if failure is None:
            job[1].set_result(result)
        else:
            job[1].set_exception(failure)

    def _bare(self, job: Job) -> Outcome:
        try:
            return job[0](self._connection), None
        except BaseException as error:
            return None, error

    def _run(self, job: Job) -> Outcome:
        """Within the group's transaction. Raises what has ended the transaction."""
        self._connection.execute("SAVEPOINT one")
        outcome: Outcome
        try:
            outcome = job[0](self._connection), None
        except BaseException as error:
            if not self._connection.in_transaction:  # a full disk, for one
                raise
            self._connection.execute("ROLLBACK TO one")
            outcome = None, error
        self._connection.execute("RELEASE one")
        return outcome

    def _alone(self, job: Job) -> Outcome:
        try:
            with Transaction(self._connection, "IMMEDIATE"):
                return job[0](self._connection), None
        except BaseException as error:
            return None, error
