"""`pinyon serve --ephemeral`: a server for tests and trials, whose data are gone when it ends."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from pinyon.errors import InvalidArgument

IN_MEMORY = Path("/dev/shm")
"""A folder that Linux keeps in memory. Writes to it need no disk, so they are quick."""
ROOM_IN_MEMORY = 1_000_000_000
"""Bytes that must be free there. Containers often have less; then the folder for temporary files is used."""
INDEX_PORTS = "free:50"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to the command."""
    parser.add_argument(
        "--ephemeral",
        action="store_true",
        help="for tests and trials: a temporary data folder, in memory if there is room, which is removed at the end; "
        f"a free port unless --port names one, and --index-ports {INDEX_PORTS} unless it is named",
    )
    parser.add_argument(
        "--until-stdin-ends",
        action="store_true",
        help="stop when standard input ends, so that the server does not outlive the program that started it",
    )


@contextlib.contextmanager
def temporary_data(options: argparse.Namespace) -> Iterator[None]:
    """Make a data folder, fill in the options that are not named, and remove the folder at the end.

    Raises InvalidArgument if a data folder is named.
    """
    if options.data_dir is not None:
        raise InvalidArgument("--ephemeral makes a data folder of its own and removes it; leave out --data-dir")
    folder = tempfile.mkdtemp(prefix="pinyon-", dir=_memory())
    options.engine, options.data_dir = "sqlite", folder
    options.port = "0" if options.port is None else options.port
    options.index_ports = INDEX_PORTS if options.index_ports is None else options.index_ports
    options.precision = options.precision or "remembered"  # measuring takes longer than such a server lives
    # Until the server itself takes the signal, its default would end the process and leave the folder.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        shutil.rmtree(folder, ignore_errors=True)
        print(f"The temporary data folder {folder} was removed.", flush=True)


def _memory() -> str | None:
    """A folder in memory with enough room; None if there is none."""
    try:
        roomy = os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= ROOM_IN_MEMORY
    except OSError:
        return None
    return str(IN_MEMORY) if roomy else None


def stop_when_stdin_ends() -> None:
    """Send this process SIGTERM when its standard input ends."""

    def wait() -> None:
        while sys.stdin is not None and sys.stdin.buffer.read(4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="stdin").start()
