"""Reads the file of an index beside the engine that has it open."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.transaction import Transaction

T = TypeVar("T")


def with_file(folder: Path, index: str, function: Callable[[apsw.Connection], T]) -> T:
    """The result of a function on one snapshot of an index's file. folder: the data folder."""
    connection = connect(folder / "indexes" / f"{index}.sqlite", 0, "read only")
    try:
        with Transaction(connection, "DEFERRED"):
            return function(connection)
    finally:
        connection.close()


def read(folder: Path, index: str, sql: str) -> Any:
    """The only value that a statement reads."""
    return with_file(folder, index, lambda connection: connection.execute(sql).get)
