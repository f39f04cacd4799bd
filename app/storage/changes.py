"""Which rows of a namespace got another vector, or lost it, since some version. Plain functions on a connection.

Written down only for namespaces that somebody follows: those with an inverted file, which is kept up to date by it.
"""

from typing import Any

import apsw
import numpy as np

from app.storage.vector_rows import Records


def follow(connection: apsw.Connection, ns: int) -> int | None:
    """Have changes written down from now on. Returns the version from which they are; None without the namespace."""
    version: int | None = connection.execute(
        "UPDATE namespaces SET followed = coalesce(followed, version) WHERE ns = ? RETURNING followed", (ns,)
    ).get
    return version


def note(connection: apsw.Connection, ns: int, version: int, rows: Records) -> None:
    """Write down, if somebody follows, that the write with this version changed the vectors of these rows."""
    if len(rows) and connection.execute("SELECT followed FROM namespaces WHERE ns = ?", (ns,)).get is not None:
        connection.execute(
            "INSERT INTO changes (ns, version, rows) VALUES (?, ?, ?)", (ns, version, rows.astype(np.int64).tobytes())
        )


def since(connection: apsw.Connection, ns: int, version: int) -> Records | None:
    """Sorted rows that changed after that version; None if that is not known."""
    found: Any = connection.execute("SELECT followed, version FROM namespaces WHERE ns = ?", (ns,)).get
    if found is None or found[0] is None or found[0] > version:
        return None
    if found[1] == version:
        return np.empty(0, np.int64)
    blobs = [
        blob for (blob,) in connection.execute("SELECT rows FROM changes WHERE ns = ? AND version > ?", (ns, version))
    ]
    return np.unique(np.frombuffer(b"".join(blobs), dtype=np.int64))


def settle(connection: apsw.Connection, ns: int, version: int) -> None:
    """Forget the changes up to that version: whoever follows has them on disk."""
    connection.execute("UPDATE namespaces SET followed = ? WHERE ns = ? AND followed <= ?", (version, ns, version))
    connection.execute("DELETE FROM changes WHERE ns = ? AND version <= ?", (ns, version))


def stop(connection: apsw.Connection, ns: int | None = None) -> None:
    """Write nothing down any more, and forget: of a namespace, or of all."""
    connection.execute("UPDATE namespaces SET followed = NULL WHERE ns = coalesce(?, ns)", (ns,))
    connection.execute("DELETE FROM changes WHERE ns = coalesce(?, ns)", (ns,))
