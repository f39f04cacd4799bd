"""Runs `pinyon` in this process, which saves its start."""

import os
from pathlib import Path
from unittest import mock

import pytest
from pinyon.cli.main import main

from tests.running import environment


class Done:
    """How a command ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


class Pinyon:
    """The command, with its output. home: where it keeps its state."""

    def __init__(self, capture: pytest.CaptureFixture[str], home: Path) -> None:
        self._capture, self._home = capture, home

    def __call__(self, *arguments: str | Path) -> Done:
        variables = environment(XDG_STATE_HOME=str(self._home))
        with mock.patch.dict(os.environ, variables, clear=True):
            status = main([str(each) for each in arguments])
        out, err = self._capture.readouterr()
        return Done(status, out, err)

    def ok(self, *arguments: str | Path) -> Done:
        """Run a command that has to succeed."""
        done = self(*arguments)
        assert done.status == 0, (done.out, done.err)
        return done
