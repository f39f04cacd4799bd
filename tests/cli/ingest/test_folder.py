"""What a folder of documents has."""

import os
from pathlib import Path

import pytest
from pinyon.cli.ingest.folder import Folder
from pinyon.errors import InvalidArgument


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "closed").mkdir(parents=True)
    (tmp_path / "docs" / "a.md").write_text("Text.")
    return tmp_path / "docs"


def test_a_folder_that_is_gone_is_an_error_and_not_an_empty_one(root: Path) -> None:
    folder = Folder(root, "docs/")
    assert list(folder.listed().files) == ["docs/a.md"]
    root.rename(root.parent / "elsewhere")
    with pytest.raises(InvalidArgument, match="cannot be opened: No such file or directory"):
        folder.listed()


def test_what_is_in_a_folder_that_cannot_be_opened_may_exist(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    listing = Folder(root, "docs/").listed()
    assert listing.unreadable == {"docs/closed": "it cannot be opened: Permission denied"}
    assert listing.may_exist("docs/closed/b.md") and not listing.may_exist("docs/closed2.md")


def test_a_file_is_read_again_only_if_its_time_or_size_has_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(root, "docs/")
    (before,) = folder.listed().files.values()
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("it was read"))
    assert list(folder.listed().files.values()) == [before]
    monkeypatch.undo()
    (root / "a.md").write_text("Other text.")
    (after,) = folder.listed().files.values()
    assert after.digest != before.digest
