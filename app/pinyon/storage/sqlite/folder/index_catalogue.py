"""The catalogue of a data folder: which indexes exist, and small values of the services beside them.

Plain functions on a connection to DATA/catalogue.sqlite, in the caller's transaction. The spec of an index is in its
own file. An index is entered as `creating` before its file is made, and marked `deleting` before its file is removed.
So the next start after a crash knows what to finish. It does not remove a file only because the catalogue says so: see
index_files.py.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import apsw

from pinyon.domain import CatalogueValue
from pinyon.errors import AlreadyExists, VersionConflict

State = Literal["creating", "ready", "deleting"]


def _first(connection: apsw.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE indexes (
            name TEXT PRIMARY KEY,
            state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'deleting'))
        ) STRICT, WITHOUT ROWID;

        -- Every port that an index ever had. released: NULL while the index has it, then a number that counts up.
        CREATE TABLE ports (
            port INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            released INTEGER
        ) STRICT;
        CREATE UNIQUE INDEX one_port_each ON ports (name) WHERE released IS NULL;
        """
    )


def _second(connection: apsw.Connection) -> None:
    connection.execute(
        """
        -- Values that the services store by key. version counts the changes of a value.
        CREATE TABLE key_values (
            key TEXT PRIMARY KEY,
            value TEXT NOT NULL,
            version INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        INSERT INTO key_values
            SELECT 'port/' || port, json_object('index', name, 'released', released), 1 FROM ports;
        DROP TABLE ports;
        """
    )


STEPS = [_first, _second]
"""As in migrations.py: numbered by their position; what a step does is never changed once it is released."""


def states(connection: apsw.Connection) -> dict[str, str]:
    """The state of every index by name."""
    rows: Any = connection.execute("SELECT name, state FROM indexes ORDER BY name").fetchall()
    return dict(rows)


def enter(connection: apsw.Connection, name: str, state: State) -> None:
    """Enter an index. Raises AlreadyExists if there is one of this name."""
    try:
        connection.execute("INSERT INTO indexes (name, state) VALUES (?, ?)", (name, state))
    except apsw.ConstraintError:
        raise AlreadyExists(f"Index {name} already exists") from None


def enter_ready(connection: apsw.Connection, name: str) -> None:
    """Enter an index as ready, whether or not it is in the catalogue."""
    connection.execute(
        "INSERT INTO indexes (name, state) VALUES (?, 'ready') ON CONFLICT (name) DO UPDATE SET state = 'ready'",
        (name,),
    )


def values(connection: apsw.Connection) -> dict[str, CatalogueValue]:
    """Every value of the services, by key."""
    rows: Any = connection.execute("SELECT key, value, version FROM key_values")
    return {key: CatalogueValue(value, version) for key, value, version in rows}


def put_value(connection: apsw.Connection, key: str, value: str, version: int) -> None:
    """Store a value. version: that of the value which it replaces, 0 for a new key. Raises VersionConflict."""
    current = connection.execute("SELECT version FROM key_values WHERE key = ?", (key,)).get or 0
    if current != version:
        raise VersionConflict(f"The value {key} in the catalogue is at version {current}, not {version}")
    connection.execute(
        "INSERT INTO key_values (key, value, version) VALUES (?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version",
        (key, value, version + 1),
    )


def salvaged_values(file: Path) -> dict[str, str]:
    """The values that can still be read from a damaged catalogue, by key."""
    salvaged: dict[str, str] = {}
    with contextlib.suppress(apsw.Error, UnicodeDecodeError):
        address = f"{file.resolve().as_uri()}?immutable=1"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        with contextlib.closing(apsw.Connection(address, flags=flags, vfs="unix")) as connection:
            connection.execute("PRAGMA checksum_verification = OFF").fetchall()
            first_schema = connection.pragma("user_version") == 1
            for key, value in connection.execute(_PORTS_OF_FIRST_SCHEMA if first_schema else _VALUES):
                if isinstance(key, str) and isinstance(value, str):
                    salvaged[key] = value
    return salvaged


_VALUES = "SELECT key, value FROM key_values"
_PORTS_OF_FIRST_SCHEMA = "SELECT 'port/' || port, json_object('index', name, 'released', released) FROM ports"


def enter_values(connection: apsw.Connection, values: Mapping[str, str]) -> None:
    """Enter the values of a damaged catalogue."""
    connection.executemany("INSERT INTO key_values (key, value, version) VALUES (?, ?, 1)", list(values.items()))


def mark(connection: apsw.Connection, name: str, state: State) -> None:
    """Change the state of an index."""
    connection.execute("UPDATE indexes SET state = ? WHERE name = ?", (state, name))


def forget(connection: apsw.Connection, name: str) -> None:
    """Remove an index from the catalogue."""
    connection.execute("DELETE FROM indexes WHERE name = ?", (name,))
