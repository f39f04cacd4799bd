"""The token vectors of texts, for late interaction. Plain functions on a connection.

A code is stored in the transaction of its record, and removed when the text changes. A record without one is not wrong:
a reranker then reads its text.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec
from pinyon.search import token_codes

log = logging.getLogger("pinyon.storage")


def field(spec: IndexSpec) -> str | None:
    """The field whose token vectors are stored; None if none are."""
    return spec.embed.text_field if spec.embed is not None and spec.embed.token_vectors == "stored" else None


def add(connection: apsw.Connection, spec: IndexSpec, codes: Sequence[tuple[int, bytes | None]]) -> None:
    """Store the codes of these rows, which have none yet, if the index stores them. Rows without one are left out."""
    if field(spec) is not None:
        connection.executemany(
            "INSERT INTO token_vectors (record, codes) VALUES (?, ?)",
            [(row, code) for row, code in codes if code is not None],
        )


def remove(connection: apsw.Connection, rows: Sequence[int]) -> None:
    """Remove the codes of these rows."""
    if rows:
        connection.execute(
            "DELETE FROM token_vectors WHERE record IN (SELECT value FROM carray(?))",
            (apsw.carray(np.array(rows, np.int64)),),
        )


def remove_namespace(connection: apsw.Connection, ns: int) -> None:
    """Remove the codes of a namespace. Call before its records are deleted."""
    connection.execute("DELETE FROM token_vectors WHERE record IN (SELECT record FROM records WHERE ns = ?)", (ns,))


def remove_all(connection: apsw.Connection) -> None:
    """Remove every code, because the index stores none any more, or those of another field."""
    connection.execute("DELETE FROM token_vectors")


def replace_all(connection: apsw.Connection, target: IndexSpec) -> None:
    """Replace all codes by those that a re-embedding has computed. target: what the index becomes."""
    remove_all(connection)
    if field(target) is not None:
        connection.execute(
            "INSERT INTO token_vectors (record, codes)"
            " SELECT record, token_codes FROM reembedded WHERE token_codes IS NOT NULL"
        )


def read(connection: apsw.Connection, rows: NDArray[np.int64]) -> dict[int, bytes]:
    """The codes of these rows, by row; rows without one are left out."""
    codes: Any = connection.execute(
        "SELECT record, codes FROM carray(?) CROSS JOIN token_vectors ON record = value",
        (apsw.carray(np.sort(rows)),),  # sorted, because neighbours in the file are quicker to read in order
    )
    return dict(codes)


def copy(source: apsw.Connection, target: apsw.Connection, spec: IndexSpec) -> None:
    """Copy the codes of the target's records. Those that cannot be read are left out, because texts can be read again.

    source: may be a file of an earlier version, which has no codes.
    """
    try:
        for row, code, _ in _rows(source) if _are_kept(source) else ():
            if _problem(code) is None and target.execute("SELECT 1 FROM records WHERE record = ?", (row,)).get:
                add(target, spec, [(row, code)])
    except apsw.Error as error:  # pages of the table are damaged
        log.warning("some token vectors cannot be read: %s", error)


def problems(connection: apsw.Connection, spec: IndexSpec) -> Iterator[str]:
    """Finds codes that cannot be read, and codes without a record, or in an index that stores none."""
    for row, code, id in _rows(connection) if _are_kept(connection) else ():
        if id is None or field(spec) is None:
            yield f"row {row} has token vectors and should have none"
        elif (problem := _problem(code)) is not None:
            yield f"record '{id}': {problem}"


def _rows(connection: apsw.Connection) -> Iterator[Any]:
    """The row, the code and the id of every record with a code; the id is None without a record."""
    return connection.execute(
        "SELECT token_vectors.record, codes, id FROM token_vectors LEFT JOIN records USING (record)"
    )


def _are_kept(connection: apsw.Connection) -> bool:
    """Whether the file has the table; one of an earlier version gets it at the next start of a server."""
    return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'token_vectors'").get)


def _problem(code: bytes) -> str | None:
    try:
        token_codes.decode(code)
    except ValueError as error:
        return str(error)
    return None
