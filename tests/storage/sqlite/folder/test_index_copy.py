"""Copies of files that are larger than SQLite's page cache, most of whose pages are only in the log."""

import contextlib
from pathlib import Path

import apsw
import pytest
from pinyon.storage.sqlite.connection import page_checksums
from pinyon.storage.sqlite.connection.connections import PAGE_BYTES, connect
from pinyon.storage.sqlite.folder.backups.index_copy import copy_file
from pinyon.storage.sqlite.schema import migrations


def large_log(path: Path) -> apsw.Connection:
    """A file with 5 MB, nearly all of it in the log. The connection keeps the log from being copied."""
    connection = connect(path, 0, "write")
    connection.pragma("journal_mode", "wal")
    connection.wal_autocheckpoint(0)
    migrations.migrate(connection)
    connection.execute("CREATE TABLE rows (text BLOB)")
    for number in range(50):
        connection.execute("INSERT INTO rows VALUES (?)", (bytes([number]) * 100_000,))
    assert path.stat().st_size < 2 * PAGE_BYTES
    return connection


@pytest.mark.parametrize("checksums", [True, False])
def test_a_copy_has_what_the_log_has_with_checksums_if_the_file_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checksums: bool
) -> None:
    source, copy = tmp_path / "docs.sqlite", tmp_path / "copy.sqlite"
    with monkeypatch.context() as patched:
        if not checksums:  # as the files of 0.1.0
            patched.setattr(page_checksums, "available", lambda: False)
        connection = large_log(source)
    with contextlib.closing(connection):
        copy_file(source, copy, at_rest=False)
        assert page_checksums.file_has_room(copy) == checksums
        assert page_checksums.wrong_pages(copy) == []
        with contextlib.closing(connect(copy, 0, "frozen", compare=True)) as copied:
            assert copied.execute("PRAGMA integrity_check").get == "ok"
            query = "SELECT text FROM rows ORDER BY rowid"
            assert copied.execute(query).fetchall() == connection.execute(query).fetchall()
