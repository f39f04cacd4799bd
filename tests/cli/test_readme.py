"""The README's commands as they are typed, in order, in a copy of the project with a server of its own."""

import itertools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import PROJECT, free_ports, network_environment

README = re.sub(r"^```\w+\n.*?^```$", "", (PROJECT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
"""Without the blocks of Python."""
NOT_HERE = (
    "make test",
    "docker",
    "models pull",
    "models pack",
    "models bench",
    "python my_program",
    "pinyon_...",
    "make serve",
)
"""What takes a network, an engine of containers, minutes, or a program of the reader's."""
FILES = ("app", "config", "docs", "models", "Makefile", "pyproject.toml", "README.md")


def blocks() -> list[tuple[str, str]]:
    """Heading and text of each block of commands, those in `python` left out."""
    found, heading = [], ""
    for part in re.split(r"(^## [^\n]*$|^```\n.*?^```$)", README, flags=re.MULTILINE | re.DOTALL):
        if part.startswith("## "):
            heading = part[3:]
        elif part.startswith("```\n"):
            found.append((heading, part[4:-3]))
    return found


def commands(block: str) -> list[str]:
    """The commands of a block: a line each, with those that go on in quotes."""
    lines, found = block.splitlines(), []
    while lines:
        one = lines.pop(0)
        while one.count("'") % 2 and lines:
            one += "\n" + lines.pop(0)
        if re.match(r"(curl|pinyon|make|\.|\.venv/bin/pinyon) ", one):
            found.append(re.sub(r"\s{2,}#.*$", "", one))
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("clone") / "pinyon")


def copied(folder: Path) -> Path:
    folder.mkdir()
    for name in FILES:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "weights"))
        else:
            shutil.copy(source, folder / name)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    return folder


class Shell:
    """Runs commands in a copy of the project, at ports that are free; what is said of 5080 is meant of those."""

    def __init__(self, folder: Path) -> None:
        self.folder, (self.port, self.last) = folder, free_ports(6).split("-")
        own = {name: value for name, value in network_environment().items() if not name.startswith("PINYON_")}
        path = f"{folder}/.venv/bin:{own['PATH']}"
        self.environment = {**own, "PATH": path, "PYTHONPATH": f"{folder}/app", "PYTHONUNBUFFERED": "1"}
        self.environment["PINYON_MODELS_PRECISION"] = "remembered"  # measures nothing beside the tests
        self.environment["PINYON_SERVER_INDEX_PORTS"] = f"{int(self.port) + 1}-{self.last}"

    def run(self, command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        typed = command.replace("localhost:5080", f"localhost:{self.port}")
        return subprocess.run(
            ["bash", "-c", typed],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def serve(self, command: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "is ready on" in line:
                return process
        raise AssertionError(f"{command} did not serve")


def ended(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    text, _ = process.communicate(timeout=300)
    assert "all data is on disk" in text  # `make` itself may end by the signal


@pytest.fixture(scope="module")
def shell(copy: Path) -> Iterator[Shell]:
    """While `make serve` runs, without setting up what is there."""
    shell = Shell(copy)
    process = shell.serve(f"make -o .venv/ready serve PORT={shell.port}")
    yield shell
    ended(process)


@pytest.mark.slow
def test_the_answers_of_the_tour_are_the_printed_ones(shell: Shell) -> None:
    tour = [block for heading, block in blocks() if heading == "Five minutes"]
    pairs = [(commands(asked), printed) for asked, printed in itertools.pairwise(tour) if not commands(printed)]
    pairs = [(asked[0], printed) for asked, printed in pairs if asked]
    assert len(pairs) == 6
    for command, printed in pairs:
        told = "".join(shell.run(command).stdout.split())
        wanted = re.sub(r"\d\.\d{4,}", "N", "".join(printed.split()))
        told = re.sub(r"\d\.\d{4,}", "N", told)
        wanted, told = (
            re.sub(r"\d+(chunks|new)", r"N\1", text) for text in (wanted, told)
        )  # as many as the pages make
        assert told.startswith(wanted[:40]) or wanted in told, f"{command}\n{told}"


@pytest.mark.slow
def test_every_command_of_the_readme_does_what_it_says(shell: Shell) -> None:
    tried = 0
    for heading, block in blocks():
        for command in commands(block):
            if any(words in command for words in NOT_HERE) or "serve" in command or "certs" in command:
                continue
            if "keys create" in command:  # from then on every request needs one; test_tls_and_keys has it
                continue
            if heading == "Models" or re.search(r"\b[A-Z]{3,}\b", command.replace("GET", "").replace("POST", "")):
                continue  # a name that the reader puts in
            done = shell.run(command)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            assert '"code":' not in done.stdout, f"{command}\n{done.stdout}"
            tried += 1
    assert tried >= 5


@pytest.mark.slow
def test_tls_and_keys_are_made_and_served_as_the_readme_says(tmp_path: Path) -> None:
    copy = copied(tmp_path / "pinyon")
    shell = Shell(copy)
    (block,) = (block for heading, block in blocks() if "pinyon certs certs" in block)
    certs, key, serve = commands(block)
    (copy / "data").mkdir(exist_ok=True)
    assert shell.run(f"{certs}").returncode == 0
    made = shell.run(key)
    assert made.returncode == 0, made.stderr
    process = shell.serve(f"{serve} --port {shell.port}")
    url = f"https://localhost:{shell.port}/describe_index_stats"
    told = shell.run(f"curl -s --cacert certs/ca.pem -H 'Api-Key: {made.stdout.strip()}' {url}")
    assert '"dimension":384' in told.stdout, told
    assert shell.run("pinyon ready").stdout == "ready\n", "it finds the server by its data folder, TLS or not"
    ended(process)
