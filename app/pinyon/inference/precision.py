"""How exactly a model is computed, and which precision was chosen on this machine.

fp32 is the reference. bf16 multiplies matrices in bfloat16 and adds in float32. int8 multiplies integers. openvino is
fp32 and openvino-bf16 is bf16, both computed by OpenVINO if it is installed. Which one is fastest depends on the
processor: `pinyon models bench` measures, and its choice is stored in the models folder by kind of machine. An index
remembers the precision of its vectors and keeps it; a choice applies to indexes that are still empty.
"""

import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import msgspec

from pinyon.errors import FailedPrecondition
from pinyon.files import replace_json

Precision = Literal["fp32", "bf16", "int8", "openvino", "openvino-bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FILE = Path("weights") / "precision.json"
"""Below the models folder, in the part of it that is a volume in a container."""


def computable(precision: Precision) -> bool:
    """Whether the software for this precision is installed."""
    return not precision.startswith("openvino") or find_spec("openvino") is not None


def check_computable(precision: Precision) -> None:
    """Raises FailedPrecondition if the software for this precision is not installed. The message says how to get it."""
    if not computable(precision):
        raise FailedPrecondition(
            f"'{precision}' needs OpenVINO, which is not installed; get it with: pip install -e '.[openvino]'"
        )


def machine() -> str:
    """The kind of this machine: its processor and number of cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def chosen(models_dir: Path, kind: str | None = None) -> dict[str, Precision]:
    """The precision that was chosen for each model. Models without a choice are left out.

    kind: of machine; None for this one. Raises FailedPrecondition if the file cannot be read.
    """
    return _read(models_dir / FILE).get(kind or machine(), {})


def choose(models_dir: Path, model: str, precision: Precision, kind: str | None = None) -> None:
    """Remember a choice; fp32 removes it. kind: as in chosen().

    Raises FailedPrecondition if the file cannot be read or written.
    """
    file, kind = models_dir / FILE, kind or machine()
    choices = _read(file)
    own = {**choices.get(kind, {}), model: precision}
    choices[kind] = {name: value for name, value in own.items() if value != "fp32"}
    try:
        replace_json(file, choices)
    except OSError as error:
        raise FailedPrecondition(f"The choice cannot be written to {file}: {error.strerror}") from error


def _read(file: Path) -> dict[str, dict[str, Precision]]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, Precision]])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise FailedPrecondition(
            f"{file}, made by `pinyon models bench`, cannot be read: {error}. Remove it to compute every model in fp32"
        ) from error
