"""SHA256SUMS: the sha256 of every file in a model's folder, in the format of `sha256sum -c`."""

import hashlib
from pathlib import Path

from pinyon.errors import FailedPrecondition

SUMS_FILE = "SHA256SUMS"


def sha256(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_of(folder: Path) -> list[str]:
    """The relative names of all files in the folder, sorted, without hidden files and SHA256SUMS."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        name.as_posix() for name in names if name.name != SUMS_FILE and not any(p.startswith(".") for p in name.parts)
    )


def write(folder: Path) -> dict[str, str]:
    """Write the hash of every file to SHA256SUMS. Returns the hashes by name."""
    sums = {name: sha256(folder / name) for name in files_of(folder)}
    text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    (folder / SUMS_FILE).write_text(text, encoding="utf-8")
    return sums


def read(folder: Path) -> dict[str, str]:
    """The hashes in SHA256SUMS by name; empty without the file. Raises FailedPrecondition if it cannot be read."""
    try:
        text = (folder / SUMS_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"{folder / SUMS_FILE} cannot be read: {error}") from error
    sums = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise FailedPrecondition(f"{folder / SUMS_FILE} is not a list of sha256 sums: {line[:80]!r}")
        sums[name] = digest
    return sums


def check(folder: Path, known: dict[str, str] | None = None) -> list[str]:
    """A phrase for each file that differs from SHA256SUMS. known: hashes that were computed already, by name."""
    wrong = []
    for name, wanted in read(folder).items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif ((known or {}).get(name) or sha256(path)) != wanted:
            wrong.append(f"{name} has changed")
    return wrong
