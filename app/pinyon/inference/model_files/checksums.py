"""The sha256 of every file of a model's folder, in a file that `sha256sum -c` reads, too."""

import hashlib
from pathlib import Path

from pinyon.errors import FailedPrecondition

SUMS_FILE = "SHA256SUMS"


def sha256(path: Path) -> str:
    """The hash of a file's contents, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_of(folder: Path) -> list[str]:
    """Every file in the folder by its relative name, sorted; what begins with a dot, and the sums, left out."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        name.as_posix() for name in names if name.name != SUMS_FILE and not any(p.startswith(".") for p in name.parts)
    )


def write(folder: Path) -> dict[str, str]:
    """Write down the hash of every file; hashes by name."""
    sums = {name: sha256(folder / name) for name in files_of(folder)}
    text = "".join(f"{found}  {name}\n" for name, found in sums.items())
    (folder / SUMS_FILE).write_text(text, encoding="utf-8")
    return sums


def read(folder: Path) -> dict[str, str]:
    """What was written down; empty if nothing was. Raises FailedPrecondition if it cannot be read."""
    try:
        text = (folder / SUMS_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"{folder / SUMS_FILE} cannot be read: {error}") from error
    sums = {}
    for line in text.splitlines():
        found, _, name = line.partition("  ")
        if len(found) != 64 or not name:
            raise FailedPrecondition(f"{folder / SUMS_FILE} is not a list of sha256 sums: {line[:80]!r}")
        sums[name] = found
    return sums


def check(folder: Path, known: dict[str, str] | None = None) -> list[str]:
    """What differs from what was written down, a phrase for each file. known: hashes computed already, by name."""
    wrong = []
    for name, wanted in read(folder).items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif ((known or {}).get(name) or sha256(path)) != wanted:
            wrong.append(f"{name} has changed")
    return wrong
