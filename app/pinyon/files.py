"""Writes files that are either complete or absent, even after a power cut."""

import os
from pathlib import Path
from typing import Any

import msgspec


def put_in_place(new: Path, file: Path) -> None:
    """Make a written file durable, then rename it to its final name. Raises OSError."""
    sync(new)
    new.replace(file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_json(file: Path, value: Any) -> None:
    """Write a value to a file as indented JSON. Makes the folder of the file. Raises OSError."""
    part = file.with_suffix(".partial")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2))
    put_in_place(part, file)
