"""How exactly a model is computed, and which precision was chosen on this machine.

fp32 is the reference. bf16 multiplies matrices in bfloat16 and adds in float32. int8 multiplies integers. openvino is
fp32 and openvino-bf16 is bf16, both computed by OpenVINO if it is installed. Which one is fastest depends on the
processor: the server measures it in the background (precision_search.py), or `pinyon models bench` does. The choice is
stored in the models folder by kind of machine. An index remembers the precision of its vectors and keeps it; a choice
applies to indexes that are still empty.
"""

import contextlib
import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import msgspec
from filelock import FileLock, Timeout

from pinyon import decoding
from pinyon.errors import FailedPrecondition
from pinyon.files import replace_json

Precision = Literal["fp32", "bf16", "int8", "openvino", "openvino-bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FILE = Path("weights") / "precision.json"
"""Below the models folder, in the part of it that is a volume in a container."""
INSTRUCTIONS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "bf16", "i8mm")
"""Instructions of processors that decide which precision is fast. The last two are of ARM."""
LOCK_S = 10
"""How long a choice waits for another process that is storing one."""


def computable(precision: Precision) -> bool:
    """Whether the software for this precision is installed."""
    return not precision.startswith("openvino") or find_spec("openvino") is not None


def check_computable(precision: Precision) -> None:
    """Raises FailedPrecondition if the software for this precision is not installed. The message says how to get it."""
    if not computable(precision):
        raise FailedPrecondition(
            f"'{precision}' needs OpenVINO, which is not installed; get it with: pip install -e '.[openvino]'"
        )


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The kind of this machine: its processor, number of cores, and which of INSTRUCTIONS the processor has.

    The instructions are part of it, because virtual machines give processors of several generations the same name.
    """
    fields: dict[str, str] = {}
    with contextlib.suppress(OSError):  # not Linux
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    name = fields.get("model name") or platform.processor() or platform.machine()
    own = {*fields.get("flags", "").split(), *fields.get("Features", "").split()}
    return ", ".join([name, f"{os.cpu_count()} cores", *(each for each in INSTRUCTIONS if each in own)])


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """The precision of a model, and why. speed: times that of fp32. agreement: rank correlation with fp32.

    Both are None if nobody measured.
    """

    precision: Precision
    speed: float | None = None
    agreement: float | None = None

    @property
    def reason(self) -> str:
        """Why it was chosen: part of a sentence."""
        if self.speed is None or self.agreement is None:
            return "chosen with `pinyon models bench`"
        if self.precision == "fp32":
            return "measured here: nothing that ranks alike is clearly faster"
        return f"measured here: {self.speed:.2g} times as fast as fp32, rank correlation {self.agreement:.4f}"


def chosen(models_dir: Path, kind: str | None = None) -> dict[str, Choice]:
    """The choice for each model. Left out are models without one, and choices whose software is not installed.

    kind: of machine; None for this one. Raises FailedPrecondition if the file cannot be read.
    """
    choices = _read(models_dir / FILE).get(kind or machine(), {})
    return {name: choice for name, choice in choices.items() if computable(choice.precision)}


def choose(models_dir: Path, model: str, choice: Choice, kind: str | None = None) -> None:
    """Remember a choice. kind: as in chosen(). Raises FailedPrecondition if the file cannot be read or written."""
    file, kind = models_dir / FILE, kind or machine()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock"), timeout=LOCK_S):
            choices = _read(file)
            choices[kind] = {**choices.get(kind, {}), model: choice}
            replace_json(file, choices)
    except Timeout as error:
        raise FailedPrecondition(f"{file} is locked by another process; try again") from error
    except OSError as error:
        raise FailedPrecondition(f"The choice cannot be written to {file}: {error.strerror}") from error


def _read(file: Path) -> dict[str, dict[str, Choice]]:
    try:
        kinds = decoding.decode(file.read_bytes(), dict[str, dict[str, Precision | Choice]])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise FailedPrecondition(
            f"{file}, made by `pinyon models bench`, cannot be read: {error}. Remove it to measure again"
        ) from error
    # Earlier builds stored the name of the precision alone.
    return {
        kind: {name: Choice(each) if isinstance(each, str) else each for name, each in choices.items()}
        for kind, choices in kinds.items()
    }
