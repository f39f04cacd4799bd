"""The catalogue of a data folder: which indexes exist, and which port each one answers on.

Plain functions on a connection to DATA/catalogue.sqlite, in the caller's transaction. The spec of an index is in its
own file. An index is entered as `creating` before its file is made, and marked `deleting` before its file is removed.
So the next start after a crash knows what to finish. It does not remove a file only because the catalogue says so: see
index_files.py.
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

        -- Every port that an index ever had. released: NULL while the index has it, then a number that counts up.
        CREATE TABLE ports (
            port INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            released INTEGER
        ) STRICT;
        CREATE UNIQUE INDEX one_port_each ON ports (name) WHERE released IS NULL;
        """
    )


STEPS = [_first]
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


def salvaged_ports(file: Path) -> dict[int, str]:
    """The ports that can still be read from a damaged catalogue: port to name of the index."""
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
    """Enter the ports of a damaged catalogue. If an index has two, only the first is entered."""
    connection.executemany("INSERT OR IGNORE INTO ports (port, name) VALUES (?, ?)", list(ports.items()))


def mark(connection: apsw.Connection, name: str, state: State) -> None:
    """Change the state of an index."""
    connection.execute("UPDATE indexes SET state = ? WHERE name = ?", (state, name))


def forget(connection: apsw.Connection, name: str) -> None:
    """Remove an index from the catalogue, and release its port."""
    connection.execute("DELETE FROM indexes WHERE name = ?", (name,))
    connection.execute(
        "UPDATE ports SET released = (SELECT coalesce(max(released), 0) + 1 FROM ports)"
        " WHERE name = ? AND released IS NULL",
        (name,),
    )


def port_of(connection: apsw.Connection, name: str) -> int | None:
    """The port of an index. None if it has none."""
    port: int | None = connection.execute("SELECT port FROM ports WHERE name = ? AND released IS NULL", (name,)).get
    return port


def assign_port(connection: apsw.Connection, name: str, free: Sequence[int], keep: Collection[int] = ()) -> int:
    """The port of an index: its present one if that is in `keep` or `free`, otherwise one of `free`.

    The choice among the free ports, best first: the one that an index of this name had before; one that no index ever
    had; the one that was released longest ago, because programs that still know its old index might write to the new
    one. Raises PermissionDenied if none is left.
    """
    present = port_of(connection, name)
    if present is not None and present in (*keep, *free):
        return present
    known = {port: (owner, released) for port, owner, released in connection.execute("SELECT * FROM ports")}
    available = [port for port in free if port not in known or known[port][1] is not None]
    if not available:
        raise PermissionDenied(
            f"No port is left for the index {name}: all {len(free)} of index_ports are in use. Delete an index, or "
            "start the server with a larger --index-ports range, or with --index-host"
        )

    def preference(port: int) -> tuple[bool, int, int]:
        owner, released = known.get(port, ("", 0))
        return owner != name, released or 0, port

    chosen = min(available, key=preference)
    connection.execute("DELETE FROM ports WHERE name = ? AND released IS NULL", (name,))
    connection.execute(
        "INSERT INTO ports (port, name) VALUES (?, ?)"
        " ON CONFLICT (port) DO UPDATE SET name = excluded.name, released = NULL",
        (chosen, name),
    )
    return chosen
