"""Imports point one way, and only the two places that may name concrete classes do."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent / "app"

# A module may import from its own layer and from those further down.
LAYERS = [
    ["app.__main__"],
    ["app.cli"],
    ["app.commands"],
    ["app.evaluation"],
    ["app.serving", "app.doctor", "app.certificates"],
    ["app.listening", "app.hypercorn_fixes", "app.connection_errors"],
    ["app.server"],
    ["app.api"],
    ["app.services"],
    ["app.storage", "app.inference"],
    ["app.settings", "app.keys"],
    ["app.permissions"],
    ["app.ranking", "app.bounds", "app.terms"],
    ["app.domain"],
    ["app.filters"],
    ["app.words"],
    ["app.errors", "app.failpoints", "app.files", "app.logs", "app.metrics"],
]
ONLY_SEAMS_FROM_SERVICES = {"app.storage.engine", "app.inference.backend", "app.inference.batcher"}
CATALOG = {"app.inference.catalog", "app.inference.manifest"}


def modules() -> dict[str, Path]:
    return {
        ".".join(("app", *path.relative_to(APP).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in APP.rglob("*.py")
    }


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def layer(module: str) -> int:
    for depth, names in enumerate(LAYERS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return depth
    raise AssertionError(f"{module} belongs to no layer; add it to LAYERS")


@pytest.mark.parametrize("module", [name for name in sorted(modules()) if name != "app"])
def test_imports_point_down(module: str) -> None:
    for name in imports(modules()[module]) & set(modules()) - {"app"}:
        assert layer(name) >= layer(module), f"{module} must not import {name}"


@pytest.mark.parametrize("module", [name for name in sorted(modules()) if name.startswith("app.services.")])
def test_services_see_only_the_seams_of_storage_and_models(module: str) -> None:
    below = {n for n in imports(modules()[module]) & set(modules()) if n.startswith(("app.storage.", "app.inference."))}
    assert below <= ONLY_SEAMS_FROM_SERVICES | CATALOG


def test_storage_and_models_do_not_know_each_other() -> None:
    for name, path in modules().items():
        others = {"app.storage": "app.inference", "app.inference": "app.storage"}
        for own, other in others.items():
            if name.startswith(own):
                assert not any(found.startswith(other) for found in imports(path)), name


CONCRETE = {"sqlite_engine", "torch_backend", "hash_backend", "late_interaction", "token_cache"}


def test_only_two_places_pick_concrete_classes() -> None:
    for name, path in modules().items():
        if name not in ("app.server", "app.inference.catalog") and name.rpartition(".")[2] not in CONCRETE:
            assert not CONCRETE & {found.rpartition(".")[2] for found in imports(path)}, name


def test_models_and_config_are_folders_of_data_not_packages() -> None:
    for folder in ("models", "config"):
        assert not list((APP.parent / folder).rglob("*.py"))
    for path in modules().values():
        assert not {"models", "config"} & {name.split(".")[0] for name in imports(path)}


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Whichever module is imported first. Imports inside functions happen later and do not count."""
    there = modules()
    graph: dict[str, set[str]] = {}
    for name, path in there.items():
        found: set[str] = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        graph[name] = (found & set(there)) - {"app", name.rpartition(".")[0]}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
