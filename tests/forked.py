"""Starts `pinyon serve` as a fork of a process that has imported it. This saves a second for each server.

The fork is a process like any other, with its own environment, output and end. See tests/running.py, which also starts
servers as users do.
"""

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from unittest import mock

from pinyon.cli.common import prepare_environment

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__, "pinyon.cli.main", "pinyon.serving.lifecycle"])


def _run(arguments: Sequence[str], folder: str, variables: dict[str, str], output: Connection) -> None:
    """What the fork does: `pinyon ARGUMENTS`."""
    from pinyon.cli.main import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    for standard in (1, 2):
        os.dup2(output.fileno(), standard)
    output.close()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    status = main(arguments)
    atexit._run_exitfuncs()  # a fork ends without them
    sys.exit(status)


@cache
def _import_pinyon(variables: frozenset[tuple[str, str]]) -> None:
    """Start the process that imports Pinyon, unless it runs. Libraries read the variables when they are imported."""
    with mock.patch.dict(os.environ, dict(variables), clear=True):
        prepare_environment()
        forkserver.ensure_running()


class Fork:
    """A running `pinyon`, with the methods of subprocess.Popen. stdout: what it prints, line by line."""

    def __init__(self, arguments: Sequence[str], folder: str, variables: dict[str, str]) -> None:
        reader, writer = CONTEXT.Pipe(duplex=False)
        self._process = CONTEXT.Process(target=_run, args=(arguments, folder, variables, writer), daemon=True)
        _import_pinyon(frozenset(variables.items()))
        self._process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, or minus the number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit status. Raises TimeoutError."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"process {self.pid} still runs after {timeout} s")
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)
