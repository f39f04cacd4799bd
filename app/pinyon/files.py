"""Files that are there as a whole or not at all, also after a power cut."""

import os
from pathlib import Path


def put_in_place(new: Path, file: Path) -> None:
    """Rename a file that was written, once its content is on disk. Raises OSError."""
    sync(new)
    new.replace(file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Have the content of a file, or the names in a folder, outlast a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
