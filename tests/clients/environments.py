"""One virtual environment per client, in .venv-clients/NAME, from requirements/NAME.txt."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.running import PROJECT, network_environment

REQUIREMENTS = Path(__file__).parent / "requirements"
FOLDER = PROJECT / ".venv-clients"


def python_with(client: str) -> Path:
    """The Python that has this client; it is set up the first time, and when its requirements change."""
    requirements = REQUIREMENTS / f"{client}.txt"
    folder, stamp = FOLDER / client, FOLDER / client / "requirements.sha256"
    python = folder / "bin" / "python"
    wanted = hashlib.sha256(sys.version.encode() + requirements.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _quietly(sys.executable, "-m", "venv", folder)
    _quietly(python, "-m", "pip", "--disable-pip-version-check", "-q", "install", "-r", requirements)
    stamp.write_text(wanted)
    return python


def _quietly(*command: str | Path) -> None:
    """Run a command. Its output is shown only where it fails."""
    done = subprocess.run(
        command, env=network_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
