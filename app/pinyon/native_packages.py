"""Checks whether packages of compiled code run on this processor.

If such a package uses instructions that the processor lacks, the whole process ends. So when a package is first needed,
a child process tries it. A success or a crash is remembered for this version of the package and this processor.
"""

import hashlib
import logging
import platform
import signal
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import msgspec
import platformdirs

from pinyon import decoding

State = Literal["usable", "not installed", "fails"]
TIMEOUT_S = 120
"""How long a trial may take before the package counts as failing."""
CRASHES = {signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGABRT}
"""Signals that end a process whose code does not run on the processor."""
REMEMBERED = "native-packages.json"
"""File in the user's cache folder. It has the state of each package by version and processor."""


class Package(msgspec.Struct, frozen=True):
    """A package that may fail. code: a Python program that uses it, and fails if the package does not work.

    without: what Pinyon does without the package, as part of a message.
    """

    distribution: str
    code: str
    without: str


PACKAGES = {
    "faiss": Package(
        "faiss-cpu",
        "import faiss, numpy as np\n"
        "vectors = np.random.default_rng(0).standard_normal((256, 8)).astype(np.float32)\n"
        "index = faiss.index_factory(8, 'IVF1,PQ8x4fs_64', faiss.METRIC_INNER_PRODUCT)\n"
        "index.train(vectors)\n"
        "index.add(vectors)\n"
        "assert (index.search(vectors[:1], 5)[1] >= 0).all()\n",
        "large namespaces are searched exactly, which takes longer",
    ),
    "numkong": Package(
        "numkong",
        "import numkong, numpy as np\n"
        "codes = np.ones((3, 384), np.int8)\n"
        "assert (np.asarray(numkong.dots_packed(codes, numkong.dots_pack(codes))) == 384).all()\n",
        "vectors in memory are compared by numpy, which takes longer",
    ),
}

log = logging.getLogger("pinyon")


@cache
def usable(name: str) -> bool:
    """Whether a package of PACKAGES can be used. If it cannot, this is logged once."""
    package_state = state(name)
    if package_state == "not installed":
        log.info("%s is not installed: %s", name, PACKAGES[name].without)
    elif package_state == "fails":
        log.warning("%s does not run on this processor: %s", name, PACKAGES[name].without)
    return package_state == "usable"


def state(name: str, folder: Path | None = None) -> State:
    """Whether a package is installed and works. Tries it in a child process unless the result is remembered.

    folder: where results are remembered; None: in the user's cache folder.
    """
    package = PACKAGES[name]
    try:
        key = f"{package.distribution} {version(package.distribution)}, {_processor()}"
    except PackageNotFoundError:
        return "not installed"
    file = (platformdirs.user_cache_path("pinyon") if folder is None else folder) / REMEMBERED
    remembered = _read(file)
    if key not in remembered:
        status = _exit_status(package.code)
        remembered[key] = "usable" if status == 0 else "fails"
        # Other ends, such as by SIGTERM, say nothing about the processor, so they are not remembered.
        if status == 0 or -status in CRASHES:
            _write(file, remembered)
    return remembered[key]


def _exit_status(code: str) -> int:
    """Run Python code in a child process. Returns its exit status; less than 0 for a signal, 1 if it did not run."""
    command = [sys.executable, "-P", "-c", code]  # -P: not with modules of the working directory
    try:
        child = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False, start_new_session=True)
    except (OSError, subprocess.TimeoutExpired):
        return 1
    return child.returncode


def _processor() -> str:
    """Identifies the instructions of the processor, as far as the system tells them, and the version of Python."""
    flags = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        flags = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        pass
    digest = hashlib.sha256(flags.encode()).hexdigest()[:16]
    return f"{platform.machine()} {digest}, Python {platform.python_version()} in {sys.prefix}"


def _read(file: Path) -> dict[str, State]:
    try:
        return decoding.decode(file.read_bytes(), dict[str, State])
    except (OSError, msgspec.MsgspecError):
        return {}


def _write(file: Path, remembered: dict[str, State]) -> None:
    part = file.with_suffix(".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(remembered))
        part.replace(file)
    except OSError as error:
        log.info("the results of trying compiled packages cannot be written to %s: %s", file, error.strerror)
