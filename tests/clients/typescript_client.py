"""A folder with the TypeScript client and the scripts that use it, in .venv-clients/typescript."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.running import ClientsServer
from tests.running import PROJECT, network_environment

SCRIPTS = Path(__file__).parent / "typescript"
FOLDER = PROJECT / ".venv-clients" / "typescript"


def installed() -> Path:
    """The folder. The client is installed the first time and when package.json changes."""
    need("node", "npm")
    shutil.copytree(SCRIPTS, FOLDER, dirs_exist_ok=True)
    stamp, wanted = FOLDER / "package.sha256", hashlib.sha256((SCRIPTS / "package.json").read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(
            command,
            cwd=FOLDER,
            env=network_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"npm install ended with {done.returncode}:\n{done.stdout}"
        stamp.write_text(wanted)
    return FOLDER


def node_environment(server: ClientsServer) -> dict[str, str]:
    """Everything that a script is told."""
    return {
        "PINECONE_API_KEY": server.api_key,
        "PINECONE_CONTROLLER_HOST": server.url,
        "NODE_EXTRA_CA_CERTS": str(server.ca),
        "IMPORT_FOLDER": str(server.imports),
    }


def need(*programs: str) -> None:
    """Skip the test where a program is absent; fail instead in CI, which has them all."""
    for program in programs:
        if shutil.which(program) is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed")
