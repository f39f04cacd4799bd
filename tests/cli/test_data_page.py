"""The commands of docs/data.md, as they are typed and in their order, with a server of their own."""

import re
from pathlib import Path

import pytest

from tests.cli.test_readme import Shell, copied, ended
from tests.running import PROJECT, free_ports

PAGE = re.sub(r"^```\w+\n.*?^```$", "", (PROJECT / "docs" / "data.md").read_text(), flags=re.MULTILINE | re.DOTALL)
"""Without what commands print, and other blocks whose language is named."""
PORTS = 30
"""Ports from 5080 on that the page may name."""


class PageShell(Shell):
    """Runs blocks of commands. The ports 5080 to 5109 stand for ports that are free here."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port, self.last = free_ports(PORTS).split("-")
        self.environment["PINYON_SERVER_INDEX_PORTS"] = f"{int(self.port) + 1}-{int(self.port) + 9}"

    def typed(self, commands: str) -> str:
        """The commands with the ports that they have here."""
        return re.sub(r"\b5(?:0[89]|10)\d\b", lambda port: str(int(self.port) + int(port[0]) - 5080), commands)


def blocks() -> list[str]:
    """The blocks of commands."""
    return re.findall(r"^```\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    """Lines that begin with `pinyon serve` are servers that run until the end of the page."""
    shell = PageShell(copied(tmp_path / "pinyon"))
    servers = [shell.serve(shell.typed("pinyon serve --port 5080"))]
    try:
        for block in blocks():
            for line in re.findall(r"^pinyon serve .*$", block, flags=re.MULTILINE):
                servers.append(shell.serve(shell.typed(line)))
            commands = re.sub(r"^pinyon serve .*$", "", block, flags=re.MULTILINE)
            done = shell.run(f"set -e -o pipefail\n{shell.typed(commands)}")
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
            assert '"code":' not in done.stdout, f"{block}\n{done.stdout}"
    finally:
        for server in servers:
            ended(server)
    assert len(blocks()) >= 2
