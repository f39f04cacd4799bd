"""Which rows of a namespace are new, changed or gone since some version. Plain functions on a connection.

Written down only for namespaces that somebody follows: those with an inverted file, columns or vectors in
memory, which are kept up to date by it.
"""

from typing import Any

import apsw
import numpy as np

from pinyon.storage.sqlite.row_sets import Records, distinct


def follow(connection: apsw.Connection, ns: int) -> int | None:
    """Have changes written down from now on. Returns the version from which they are; None without the namespace."""
    version: int | None = connection.execute(
        "UPDATE namespaces SET followed = coalesce(followed, version) WHERE ns = ? RETURNING followed", (ns,)
    ).get
    return version


def note(connection: apsw.Connection, ns: int, version: int, rows: Records, of_vectors: bool) -> None:
    """Write down, if somebody follows, that the write with this version changed these rows, or only their fields."""
    if len(rows) and connection.execute("SELECT followed FROM namespaces WHERE ns = ?", (ns,)).get is not None:
        connection.execute(
            "INSERT INTO changes (ns, version, rows, of_vectors) VALUES (?, ?, ?, ?)",
            (ns, version, rows.astype(np.int64).tobytes(), of_vectors),
        )


def version(connection: apsw.Connection, ns: int) -> int:
    """The last write to a namespace; 0 without it."""
    return int(connection.execute("SELECT version FROM namespaces WHERE ns = ?", (ns,)).get or 0)


def since(connection: apsw.Connection, ns: int, version: int, of_vectors: bool = True) -> Records | None:
    """Sorted rows whose vectors, or whose vectors or fields, changed after that version; None if that is not known."""
    found: Any = connection.execute("SELECT followed, version FROM namespaces WHERE ns = ?", (ns,)).get
    if found is None or found[0] is None or found[0] > version:
        return None
    if found[1] == version:
        return np.empty(0, np.int64)
    noted = connection.execute(
        "SELECT rows FROM changes WHERE ns = ? AND version > ? AND of_vectors >= ?", (ns, version, of_vectors)
    )
    blobs = [blob for (blob,) in noted]
    return distinct(np.frombuffer(b"".join(blobs), dtype=np.int64))


def settle(connection: apsw.Connection, ns: int, version: int) -> None:
    """Forget the changes up to that version: whoever follows has them on disk."""
    connection.execute("UPDATE namespaces SET followed = ? WHERE ns = ? AND followed <= ?", (version, ns, version))
    connection.execute("DELETE FROM changes WHERE ns = ? AND version <= ?", (ns, version))


def stop(connection: apsw.Connection, ns: int | None = None) -> None:
    """Write nothing down any more, and forget: of a namespace, or of all."""
    connection.execute("UPDATE namespaces SET followed = NULL WHERE ns = coalesce(?, ns)", (ns,))
    connection.execute("DELETE FROM changes WHERE ns = coalesce(?, ns)", (ns,))
