"""Files that were uploaded, in DATA/uploads: a folder for each."""

import re
import shutil
from pathlib import Path
from uuid import uuid4

import msgspec

from pinyon import decoding
from pinyon.errors import InvalidArgument, NotFound
from pinyon.services.imports.local_files import LocalFiles
from pinyon.services.imports.sources import Source

UPLOAD = "upload://"
MOST_UPLOAD = 16 * 2**20
"""Bytes of a request with a file."""
MOST_UPLOADS = 50
"""Uploads that are kept, whether or not they were imported."""
ID = re.compile(r"[0-9a-f]{32}\Z")
CONTENT, LABEL, READY = "content", "label.json", "rows"


class UploadLabel(msgspec.Struct, frozen=True):
    """What an upload is. name: of the file, as it was given. index_id: of the index that it is for."""

    name: str
    namespace: str
    index_id: str


def folder(data_dir: Path, id: str) -> Path:
    """Where an upload is. Raises NotFound."""
    path = data_dir / "uploads" / id
    if not ID.match(id) or not path.is_dir():
        raise NotFound(f"There is no upload {id[:40]}; it may have been removed. Upload the file again")
    return path


def keep(data_dir: Path, label: UploadLabel, content: bytes) -> str:
    """Store an upload. Returns its id, which nobody can guess. Removes the oldest ones, if there are many."""
    uploads = data_dir / "uploads"
    uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
    newest_first = sorted(uploads.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in newest_first[MOST_UPLOADS - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
    id = uuid4().hex
    path = uploads / id
    path.mkdir(mode=0o700)
    (path / (CONTENT + ending(label.name))).write_bytes(content)
    (path / LABEL).write_bytes(msgspec.json.encode(label))
    return id


def label(data_dir: Path, id: str) -> UploadLabel:
    """What an upload is. Raises NotFound."""
    return decoding.decode((folder(data_dir, id) / LABEL).read_bytes(), UploadLabel)


def ending(name: str) -> str:
    """The end of a file's name, such as ".csv", in lower case; "" if it has characters that no format has."""
    end = Path(name.replace("\\", "/")).suffix.lower()
    return end if end[1:].isascii() and end[1:].isalnum() else ""


def upload_id(uri: str) -> str:
    """The id of the upload that an import reads. uri: upload://ID/NAME."""
    return uri.removeprefix(UPLOAD).partition("/")[0]


def uploaded(data_dir: Path, uri: str) -> Source:
    """The rows of an upload that is being imported. uri: upload://ID/NAME. Raises InvalidArgument."""
    try:
        rows = folder(data_dir, upload_id(uri)).resolve() / READY
    except NotFound as error:
        raise InvalidArgument(error.message) from None
    return LocalFiles(str(rows), [str(rows)])
