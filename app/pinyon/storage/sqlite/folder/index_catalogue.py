"""The catalogue of a data folder: which indexes exist, and which port each one answers on.

DATA/catalogue.sqlite. What an index is stands in the index's own file. An index is entered as `creating` before its
file is made and marked `deleting` before its file goes, so that the next start after a crash knows what to finish. That
the catalogue says so is not enough to remove a file: see index_files.py. Plain functions on a connection, in the
caller's transaction.
"""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import apsw

from pinyon.errors import AlreadyExists, PermissionDenied

State = Literal["creating", "ready", "deleting"]


def _first(connection: apsw.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE indexes (
            name TEXT PRIMARY KEY,
            state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'deleting'))
        ) STRICT, WITHOUT ROWID;

        -- Every port an index ever had. released: NULL while it has it, then a number that counts up.
        CREATE TABLE ports (
            port INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            released INTEGER
        ) STRICT;
        CREATE UNIQUE INDEX one_port_each ON ports (name) WHERE released IS NULL;
        """
    )


STEPS = [_first]
"""As in migrations.py: numbered by their place, never edited once released."""


def states(connection: apsw.Connection) -> dict[str, str]:
    """Every index by name, finished or not."""
    found: Any = connection.execute("SELECT name, state FROM indexes ORDER BY name").fetchall()
    return dict(found)


def enter(connection: apsw.Connection, name: str, state: State) -> None:
    """Enter an index. Raises AlreadyExists."""
    try:
        connection.execute("INSERT INTO indexes (name, state) VALUES (?, ?)", (name, state))
    except apsw.ConstraintError:
        raise AlreadyExists(f"Index {name} already exists") from None


def enter_ready(connection: apsw.Connection, name: str) -> None:
    """Say that an index is finished, whatever was said of it before."""
    connection.execute(
        "INSERT INTO indexes (name, state) VALUES (?, 'ready') ON CONFLICT (name) DO UPDATE SET state = 'ready'",
        (name,),
    )


def salvaged_ports(file: Path) -> dict[int, str]:
    """The ports of a damaged catalogue, as far as they can be read: port to name."""
    ports: dict[int, str] = {}
    with contextlib.suppress(apsw.Error, UnicodeDecodeError):
        address = f"{file.resolve().as_uri()}?immutable=1"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        with contextlib.closing(apsw.Connection(address, flags=flags, vfs="unix")) as connection:
            connection.execute("PRAGMA checksum_verification = OFF").fetchall()
            for port, name in connection.execute("SELECT port, name FROM ports WHERE released IS NULL"):
                if isinstance(port, int) and isinstance(name, str):
                    ports[port] = name
    return ports


def enter_ports(connection: apsw.Connection, ports: Mapping[int, str]) -> None:
    """Enter the ports of a damaged catalogue; of two for one index, the first."""
    connection.executemany("INSERT OR IGNORE INTO ports (port, name) VALUES (?, ?)", list(ports.items()))


def mark(connection: apsw.Connection, name: str, state: State) -> None:
    """Change the state of an index."""
    connection.execute("UPDATE indexes SET state = ? WHERE name = ?", (state, name))


def forget(connection: apsw.Connection, name: str) -> None:
    """Take an index out, and its port from it."""
    connection.execute("DELETE FROM indexes WHERE name = ?", (name,))
    connection.execute(
        "UPDATE ports SET released = (SELECT coalesce(max(released), 0) + 1 FROM ports)"
        " WHERE name = ? AND released IS NULL",
        (name,),
    )


def port_of(connection: apsw.Connection, name: str) -> int | None:
    """The port of an index, or None."""
    port: int | None = connection.execute("SELECT port FROM ports WHERE name = ? AND released IS NULL", (name,)).get
    return port


def assign_port(connection: apsw.Connection, name: str, free: Sequence[int], keep: Collection[int] = ()) -> int:
    """The port of an index: the one it has if that is in `keep`, or else one of `free`.

    Of the free ones: the one this name had before; one that nobody ever had; the one that has been released longest,
    because programs that still know the old index might write to the new one. Raises PermissionDenied if none is left.
    """
    held = port_of(connection, name)
    if held is not None and held in (*keep, *free):
        return held
    known = {port: (owner, released) for port, owner, released in connection.execute("SELECT * FROM ports")}
    left = [port for port in free if port not in known or known[port][1] is not None]
    if not left:
        raise PermissionDenied(
            f"No port is left for the index {name}: all {len(free)} of index_ports are in use. Delete an index, or "
            "start the server with a larger --index-ports range, or with --index-host"
        )

    def order(port: int) -> tuple[bool, int, int]:
        owner, released = known.get(port, ("", 0))
        return owner != name, released or 0, port

    chosen = min(left, key=order)
    connection.execute("DELETE FROM ports WHERE name = ? AND released IS NULL", (name,))
    connection.execute(
        "INSERT INTO ports (port, name) VALUES (?, ?)"
        " ON CONFLICT (port) DO UPDATE SET name = excluded.name, released = NULL",
        (chosen, name),
    )
    return chosen
