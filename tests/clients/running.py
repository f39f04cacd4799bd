"""The server that clients meet, and the scripts that they are."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.running import PROJECT, RunningServer, environment, free_ports

KEY = "clients-test-key"
PORTS = 40
"""For indexes: more than all scripts together have at a time."""
SCRIPT_TIMEOUT_S = 300


@dataclass(frozen=True)
class ClientsServer:
    """What a client has to know of a server. ca: its own authority; bundle: that one and the system's.

    imports: a folder that it may import from, beside all of S3.
    """

    running: RunningServer
    url: str
    api_key: str
    ca: Path
    bundle: Path
    imports: Path

    @property
    def environment(self) -> dict[str, str]:
        """Everything that a client is told."""
        return {
            "PINECONE_API_KEY": self.api_key,
            "PINECONE_CONTROLLER_HOST": self.url,
            "SSL_CERT_FILE": str(self.bundle),
            "IMPORT_FOLDER": str(self.imports),
        }


def start_server(folder: Path, tls: bool) -> ClientsServer:
    """A server with no index, no data, one key and stand-ins on."""
    certificates, settings = folder / "certificates", folder / "pinyon.toml"
    made = [sys.executable, "-m", "pinyon", "certs", certificates]
    subprocess.run(made, cwd=PROJECT, env=environment(), check=True, capture_output=True)
    imports = folder / "imports"
    imports.mkdir()
    settings.write_text(
        f'[server]\napi_key = "{KEY}"\n[models]\nstand_ins = true\n[import]\nallow = ["{imports}", "s3://"]\n'
    )
    options = ["--index-ports", free_ports(PORTS), "--models-dir", str(_models(folder))]
    if tls:
        options += ["--tls-cert", str(certificates / "server.pem"), "--tls-key", str(certificates / "server.key")]
    running = RunningServer(settings, folder / "data", *options)
    return ClientsServer(running, running.url, KEY, certificates / "ca.pem", certificates / "bundle.pem", imports)


def _models(folder: Path) -> Path:
    """A models folder without weights, and with a model of 8 dimensions, as the vectors of the reference page have."""
    models = folder / "models"
    models.mkdir()
    catalogue = (PROJECT / "models" / "manifest.toml").read_text()
    hashing = catalogue[catalogue.index("[pinyon-hash-embed]") :].split("\n\n")[0]
    small = hashing.replace("[pinyon-hash-embed]", "[test-embed-8]").replace("dimension = 64", "dimension = 8")
    (models / "manifest.toml").write_text(f"{catalogue}\n{small}\n")
    return models


def run_script(command: Sequence[str | Path], env: Mapping[str, str]) -> str:
    """What a script prints. It gets `env`, PATH and HOME, and nothing else; if it fails, so does the test."""
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    shown = " ".join(str(part).removeprefix(f"{PROJECT}/") for part in command)
    try:
        done = subprocess.run(
            command,
            env={**own, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SCRIPT_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as late:
        output = late.output.decode(errors="replace") if isinstance(late.output, bytes) else late.output
        pytest.fail(f"{shown} took longer than {SCRIPT_TIMEOUT_S} s:\n{output}", pytrace=False)
    if done.returncode != 0:
        pytest.fail(f"{shown} ended with {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout
