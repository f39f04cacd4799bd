"""Pinecone's TypeScript client, and curl, with only the host and the key changed."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.running import ClientsServer, run_script
from tests.running import PROJECT, network_environment

pytestmark = pytest.mark.clients

SCRIPTS = Path(__file__).parent / "typescript"
FOLDER = PROJECT / ".venv-clients" / "typescript"


@pytest.fixture(scope="module")
def scripts() -> Path:
    """A folder with the scripts and the client, which is installed the first time and when package.json changes."""
    _need("node", "npm")
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


@pytest.mark.parametrize("script", ["reference_page.mjs", "tour.mjs"])
def test_a_script_of_the_typescript_client_works(script: str, scripts: Path, tls_server: ClientsServer) -> None:
    run_script(["node", str(scripts / script)], _environment(tls_server))


def test_the_curl_examples_of_the_reference_page_work(tls_server: ClientsServer) -> None:
    _need("bash", "curl", "python3")
    run_script(["bash", str(SCRIPTS / "curl_examples.sh")], _environment(tls_server))


def _environment(server: ClientsServer) -> dict[str, str]:
    """Everything that a script is told."""
    return {
        "PINECONE_API_KEY": server.api_key,
        "PINECONE_CONTROLLER_HOST": server.url,
        "NODE_EXTRA_CA_CERTS": str(server.ca),
        "IMPORT_FOLDER": str(server.imports),
    }


def _need(*programs: str) -> None:
    """Skip the test where a program is absent; fail instead in CI, which has them all."""
    for program in programs:
        if shutil.which(program) is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed")
