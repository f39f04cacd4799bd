"""How exactly a model is computed, and what was found to be best on this machine.

fp32 is the reference. bf16 multiplies matrices in bfloat16 and adds up in float32; int8 multiplies whole numbers;
openvino is fp32, and openvino-bf16 bf16, computed by OpenVINO where it is installed. Which one is quick depends on the
processor: `pinyon models bench` measures, and its choice is kept in the models folder, by kind of machine. An index
remembers what its vectors were computed with, and goes on so; the choice is for new ones.
"""

import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import msgspec

from pinyon.errors import FailedPrecondition

Precision = Literal["fp32", "bf16", "int8", "openvino", "openvino-bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FILE = Path("weights") / "precision.json"
"""In the models folder; in the part of it that is a volume in a container."""


def computable(precision: Precision) -> bool:
    """Whether what computes like this is installed."""
    return not precision.startswith("openvino") or find_spec("openvino") is not None


def check_computable(precision: Precision) -> None:
    """Raises FailedPrecondition, saying how to get it, if what computes like this is not installed."""
    if not computable(precision):
        raise FailedPrecondition(
            f"'{precision}' needs OpenVINO, which is not installed; get it with: pip install -e '.[openvino]'"
        )


def machine() -> str:
    """The kind of machine this is: processor and number of cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def chosen(models_dir: Path) -> dict[str, Precision]:
    """What was chosen on this kind of machine, by model. Raises FailedPrecondition for a file that cannot be read."""
    return _read(models_dir / FILE).get(machine(), {})


def choose(models_dir: Path, model: str, precision: Precision) -> None:
    """Remember a choice; fp32 needs none. Raises FailedPrecondition if the file cannot be written."""
    file = models_dir / FILE
    held = _read(file)
    mine = {**held.get(machine(), {}), model: precision}
    held[machine()] = {name: value for name, value in mine.items() if value != "fp32"}
    part = file.with_suffix(".partial")
    try:
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(msgspec.json.format(msgspec.json.encode(held), indent=2))
        part.replace(file)
    except OSError as error:
        raise FailedPrecondition(f"The choice cannot be kept in {file}: {error.strerror}") from error


def _read(file: Path) -> dict[str, dict[str, Precision]]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, Precision]])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise FailedPrecondition(
            f"{file}, made by `pinyon models bench`, cannot be read: {error}. Without it everything is computed in fp32"
        ) from error
