"""The change log: which rows of a namespace are new, changed or deleted since some version.

Plain functions on a connection. Changes are logged only for namespaces with an inverted file, or with columns or
vectors in memory, because the log keeps those up to date.
"""

from typing import Any

import apsw
import numpy as np

from pinyon.storage.shared.row_sets import Records, distinct


def follow(connection: apsw.Connection, ns: int) -> int | None:
    """Log changes from now on. Returns the version from which they are logged, or None if there is no namespace."""
    version: int | None = connection.execute(
        "UPDATE namespaces SET followed = coalesce(followed, version) WHERE ns = ? RETURNING followed", (ns,)
    ).get
    return version


def note(connection: apsw.Connection, ns: int, version: int, rows: Records, of_vectors: bool) -> None:
    """Log that the write with this version changed these rows. Does nothing if changes of the namespace are not logged.

    of_vectors: whether the write changed their vectors; False: it changed only their metadata.
    """
    if len(rows) and connection.execute("SELECT followed FROM namespaces WHERE ns = ?", (ns,)).get is not None:
        connection.execute(
            "INSERT INTO changes (ns, version, rows, of_vectors) VALUES (?, ?, ?, ?)",
            (ns, version, rows.astype(np.int64).tobytes(), of_vectors),
        )


def version(connection: apsw.Connection, ns: int) -> int:
    """The LSN of the last write to a namespace, or 0 if there is no namespace."""
    return int(connection.execute("SELECT version FROM namespaces WHERE ns = ?", (ns,)).get or 0)


def since(connection: apsw.Connection, ns: int, version: int, of_vectors: bool = True) -> Records | None:
    """The sorted rows that changed after that version, or None if the log does not go back that far.

    of_vectors: return only rows whose vectors changed; False: also rows of which only metadata changed.
    """
    state: Any = connection.execute("SELECT followed, version FROM namespaces WHERE ns = ?", (ns,)).get
    if state is None or state[0] is None or state[0] > version:
        return None
    if state[1] == version:
        return np.empty(0, np.int64)
    logged = connection.execute(
        "SELECT rows FROM changes WHERE ns = ? AND version > ? AND of_vectors >= ?", (ns, version, of_vectors)
    )
    blobs = [blob for (blob,) in logged]
    return distinct(np.frombuffer(b"".join(blobs), dtype=np.int64))


def trim(connection: apsw.Connection, ns: int, version: int) -> None:
    """Delete the log up to that version. Call when nothing needs older changes any more."""
    connection.execute("UPDATE namespaces SET followed = ? WHERE ns = ? AND followed <= ?", (version, ns, version))
    connection.execute("DELETE FROM changes WHERE ns = ? AND version <= ?", (ns, version))


def stop(connection: apsw.Connection, ns: int | None = None) -> None:
    """Stop logging changes of a namespace, and delete its log. None: of all namespaces."""
    connection.execute("UPDATE namespaces SET followed = NULL WHERE ns = coalesce(?, ns)", (ns,))
    connection.execute("DELETE FROM changes WHERE ns = coalesce(?, ns)", (ns,))
