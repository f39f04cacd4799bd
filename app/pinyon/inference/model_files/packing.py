"""`pinyon models pack` and `unpack`: a model in one file, for machines without a network."""

import shutil
import tarfile
from pathlib import Path

import msgspec
from tqdm import tqdm

from pinyon import decoding
from pinyon.errors import FailedPrecondition
from pinyon.inference.model_files import checksums, weights
from pinyon.inference.model_files.pull import install, known

LABEL = "pinyon-model.json"
"""Name of the first file of an archive, which says which model it is."""


class Label(msgspec.Struct, frozen=True):
    """The content of that file.

    name: of the model. sums: sha256 of every file, by name. revision: the commit on the hub that it comes from, if that
    is known.
    """

    name: str
    sums: dict[str, str]
    revision: str = ""


def pack(name: str, folder: Path, archive: Path, revision: str = "") -> str:
    """Write a model's folder into a tar archive, with a progress bar. Returns a sentence.

    Raises FailedPrecondition if the archive exists already or cannot be written.
    """
    if archive.exists():
        raise FailedPrecondition(f"{archive} is there already; name another file, or remove it")
    part = archive.with_name(archive.name + ".partial")
    names = checksums.files_of(folder)
    label = msgspec.json.encode(Label(name, {each: checksums.sha256(folder / each) for each in names}, revision))
    try:
        with tarfile.open(part, "w") as tar:
            _add(tar, LABEL, label)
            for each in tqdm(names, desc=name, unit="file", leave=False, disable=None):
                tar.add((folder / each).resolve(), each, recursive=False, filter=_plain)
        part.rename(archive)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FailedPrecondition(f"{archive} cannot be written: {error}") from error
    return (
        f"{name} is packed in {archive}: {len(names)} files. On the other machine: pinyon models unpack {archive.name}"
    )


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    import io

    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove owner and time, so that the same model always makes the same archive."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    info.mode = 0o644
    return info


def unpack(archive: Path, models_dir: Path) -> str:
    """Install a packed model in models/weights/ after checking every file. Returns a sentence.

    Raises FailedPrecondition if the file is not such an archive, is damaged, or has other weights than the catalogue
    says; NotFound if the catalogue does not have the model.
    """
    arriving: Path | None = None
    try:
        with tarfile.open(archive, "r:") as tar:
            label = _label(tar, archive)
            entry = known(label.name, models_dir)
            arriving = models_dir / "weights" / f"{label.name}.unpacking"
            shutil.rmtree(arriving, ignore_errors=True)
            arriving.mkdir(parents=True)
            for info in tqdm(iter(tar.next, None), desc=label.name, unit="file", leave=False, disable=None):
                if info.name not in label.sums or not info.isfile():
                    raise FailedPrecondition(f"{archive} holds {info.name!r}, which its label does not name")
                # The filter refuses names that lead out of the folder.
                tar.extract(info, arriving, filter="data")
        wrong = [
            name
            for name, wanted in label.sums.items()
            if not (arriving / name).is_file() or checksums.sha256(arriving / name) != wanted
        ]
        if wrong or not weights.is_complete(arriving):
            raise FailedPrecondition(f"{archive} is damaged: {', '.join(wrong) or 'no weights'}; nothing was unpacked")
        return install(label.name, entry, arriving, models_dir, label.revision)
    except (OSError, tarfile.TarError) as error:
        raise FailedPrecondition(f"{archive} cannot be unpacked: {error}") from error
    finally:
        if arriving is not None:
            shutil.rmtree(arriving, ignore_errors=True)


def _label(tar: tarfile.TarFile, archive: Path) -> Label:
    first = tar.next()
    stream = tar.extractfile(first) if first is not None and first.name == LABEL else None
    try:
        return decoding.decode(stream.read() if stream else b"", Label)
    except (ValueError, msgspec.MsgspecError) as error:
        raise FailedPrecondition(f"{archive} was not made by `pinyon models pack`") from error
