"""The one thread that writes to a file, several writes to a commit.

Waiting writes are run one after another in one transaction, each in a savepoint, and share the wait for the disk. Each
still succeeds or fails alone, and is answered only once the commit is on disk.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import apsw

from app import failpoints

T = TypeVar("T")

LONGEST_GROUP_S = 0.01
"""After this long no further write joins a group: the first of it waits for the last."""

Job = tuple[Callable[[apsw.Connection], Any], "Future[Any]"]
Outcome = tuple[Any, BaseException | None]


class Writer:
    """Runs functions on a connection. Functions may be run twice, the first time without effect. Must be closed.

    most_in_group: writes that may share a commit; 1 for a commit each.
    """

    def __init__(self, connection: apsw.Connection, name: str, most_in_group: int) -> None:
        self._connection, self._most = connection, most_in_group
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[apsw.Connection], T]) -> "Future[T]":
        """What the function returns or raises, once it is on disk, or nothing of it is."""
        done: Future[T] = Future()
        self._jobs.put((function, done))
        return done

    def close(self) -> None:
        """Finish what was submitted, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job[1].set_running_or_notify_cancel() and not self._group(job):
                return

    def _group(self, job: Job) -> bool:
        """Run this job, and what waits behind it, in one transaction; whether there may be more."""
        group, outcomes, more = [job], list[Outcome](), True
        begun = time.monotonic()
        try:
            with Transaction(self._connection, "IMMEDIATE"):
                outcomes.append(self._run(job))
                while len(group) < self._most and time.monotonic() - begun < LONGEST_GROUP_S and not self._jobs.empty():
                    following = self._jobs.get()
                    if following is None:
                        more = False
                        break
                    if following[1].set_running_or_notify_cancel():
                        group.append(following)
                        outcomes.append(self._run(following))
        except BaseException as error:
            # Somebody's write took all with it, or the commit did: each tries for itself.
            outcomes = [self._alone(each) for each in group] if len(group) > 1 else [(None, error)]
        for (_, done), (result, failure) in zip(group, outcomes, strict=True):
            if failure is None:
                done.set_result(result)
            else:
                done.set_exception(failure)
        return more

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


class Transaction:
    """BEGIN, then COMMIT, or ROLLBACK if the block raised; apsw's own `with` uses savepoints, begun deferred."""

    def __init__(self, connection: apsw.Connection, kind: str) -> None:
        self._connection, self._kind = connection, kind

    def __enter__(self) -> None:
        self._connection.execute(f"BEGIN {self._kind}")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                if self._kind != "DEFERRED":  # else nothing was written
                    failpoints.reach("commit")
                self._connection.execute("COMMIT")
            except BaseException:
                self._rollback()
                raise
            if self._kind != "DEFERRED":
                failpoints.reach("committed")
            return
        self._rollback()

    def _rollback(self) -> None:
        if self._connection.in_transaction:  # some errors have rolled back already
            self._connection.execute("ROLLBACK")
