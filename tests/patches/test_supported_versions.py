"""Each change to other people's code refuses a version that it was not tested with, and says which one it supports."""

import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import h11
import numpy as np
import pytest
from litestar import Litestar, get
from pinyon.errors import FailedPrecondition
from pinyon.patches import hypercorn, litestar, rank_bm25, supported

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "app/pinyon/patches"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Versions that are said to be installed, by distribution."""
    versions: dict[str, str] = {}
    real = supported.version
    monkeypatch.setattr(supported, "version", lambda name: versions.get(name) or real(name))
    supported.check_version.cache_clear()
    yield versions
    supported.check_version.cache_clear()


def bm25() -> object:
    return rank_bm25.bm25_scores(["a"], [["a"]], np.ones(1), 1.0, {"a": 1.0}, 1.2, 0.75)


@pytest.mark.parametrize(
    ("distribution", "version", "use", "supports"),
    [
        ("hypercorn", "0.19.0", hypercorn.check, "supports hypercorn>=0.18,<0.19 only; 0.19.0 is installed"),
        ("hypercorn", "0.17.3", hypercorn.check, "supports hypercorn>=0.18,<0.19 only; 0.17.3 is installed"),
        ("h11", "0.17.0", hypercorn.check, "supports h11>=0.16,<0.17 only"),
        ("h2", "5.0", hypercorn.check, "supports h2>=4.3,<5 only"),
        ("litestar", "3.0.0", lambda: litestar.resolve_dependencies_in_turn(Litestar()), "supports litestar>=2.25,<3"),
        ("rank-bm25", "0.3", bm25, "supports rank-bm25==0.2.2 only"),
    ],
)
def test_a_version_that_was_not_tested_is_refused(
    distribution: str, version: str, use: Callable[[], object], supports: str, installed: dict[str, str]
) -> None:
    use()
    supported.check_version.cache_clear()
    installed[distribution] = version
    with pytest.raises(FailedPrecondition) as refusal:
        use()
    assert supports in refusal.value.message
    assert f"pip install '{distribution}" in refusal.value.message


def test_a_local_build_of_a_supported_version_is_taken(installed: dict[str, str]) -> None:
    installed["torch"] = "2.13.0+cpu"
    supported.check_version("torch", ">=2.13,<2.14")


def test_a_library_that_is_missing_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="no version is installed"):
        supported.check_version("pinyon-has-no-such-library", ">=1")


def test_a_function_with_other_parameters_is_refused() -> None:
    def handle(self: object, event: object, priority: int) -> None: ...

    supported.check_parameters("h11", {handle: "self event priority"})
    with pytest.raises(
        FailedPrecondition, match=r"h11 0\.\S+ is built differently: \S*handle\(self, event, priority\)"
    ):
        supported.check_parameters("h11", {handle: "self event"})


def test_a_connection_without_the_buffer_that_is_measured_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h11, "Connection", lambda role: types.SimpleNamespace())
    with pytest.raises(FailedPrecondition, match=r"Connection\._receive_buffer is not what Pinyon expects"):
        hypercorn.check()


def test_dependencies_in_another_form_are_refused() -> None:
    @get("/")
    async def root() -> None: ...

    app = Litestar([root])
    litestar.resolve_dependencies_in_turn(app)
    for route in app.routes:
        for _, model in route.route_handler_map.values():  # type: ignore[union-attr]
            model.dependency_batches = ()
    with pytest.raises(FailedPrecondition, match="dependency_batches is not what Pinyon expects"):
        litestar.resolve_dependencies_in_turn(app)


@pytest.mark.parametrize(
    ("distribution", "statement", "supports"),
    [
        ("openvino", "import pinyon.patches.openvino", "supports openvino>=2026.4,<2027 only"),
        # Each of the others imports torch in a process of its own, so they are among the slow tests.
        pytest.param(
            "transformers",
            "t.replace_forward(model, print)",
            "supports transformers>=5,<6 only",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "torch", "t.replace_forward(model, print)", "supports torch>=2.13,<2.14 only", marks=pytest.mark.slow
        ),
        pytest.param(
            "none",
            "t.replace_forward(object(), print)",
            "a model of type object is not what Pinyon expects",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_another_version_below_a_model_is_refused(distribution: str, statement: str, supports: str) -> None:
    script = (
        "from pinyon.patches import supported\n"
        "from pinyon.errors import FailedPrecondition\n"
        "real = supported.version\n"
        f"supported.version = lambda name: '1.0' if name == {distribution!r} else real(name)\n"
        + ("" if distribution == "openvino" else "import pinyon.patches.transformers as t\nmodel = None\n")
        + f"try: {statement}\nexcept FailedPrecondition as error: print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    assert supports in done.stdout


def test_the_readme_names_every_file_of_the_folder() -> None:
    told = (FOLDER / "README.md").read_text()
    files = {path.name for path in FOLDER.glob("*.py")} - {"__init__.py", "supported.py"}
    assert files == {name for name in files if f"`{name}`" in told}
