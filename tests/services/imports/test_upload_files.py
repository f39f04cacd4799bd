"""Uploaded files: the newest are kept."""

import os
from pathlib import Path

from pinyon.services.imports import upload_files


def test_the_oldest_uploads_make_room_for_new_ones(tmp_path: Path) -> None:
    label = upload_files.UploadLabel("a.csv", "", "index")
    ids = []
    for number in range(upload_files.MOST_UPLOADS + 2):
        ids.append(upload_files.keep(tmp_path, label, b"id"))
        os.utime(tmp_path / "uploads" / ids[-1], (number, number))
    kept = {path.name for path in (tmp_path / "uploads").iterdir()}
    assert kept == set(ids[2:])
    assert upload_files.label(tmp_path, ids[-1]) == label
