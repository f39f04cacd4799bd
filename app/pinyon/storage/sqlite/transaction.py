"""Transactions on one connection."""

import apsw

from pinyon import failpoints


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
