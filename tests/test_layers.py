"""Imports point one way, and only the modules that may name concrete classes do."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent / "app"

# A module may import from its own layer and from those further down. The longest name that fits counts.
LAYERS = [
    ["pinyon.__main__"],
    ["pinyon.cli", "pinyon.testing"],
    ["pinyon.settings_loader"],
    ["pinyon.evaluation"],
    ["pinyon.serving"],
    ["pinyon.asgi"],
    ["pinyon.server"],
    ["pinyon.console"],
    ["pinyon.mcp.endpoint", "pinyon.mcp.stdio", "pinyon.mcp.bridge"],
    ["pinyon.mcp.protocol"],
    ["pinyon.mcp.tools.reranking", "pinyon.mcp.tools.records"],
    ["pinyon.mcp.tools.searches"],
    ["pinyon.mcp.tools"],
    ["pinyon.mcp.tool"],
    ["pinyon.mcp"],
    ["pinyon.api"],
    ["pinyon.services.gauges", "pinyon.services.overview"],
    ["pinyon.services.judgements"],
    ["pinyon.evaluation.asking"],
    ["pinyon.services.imports"],
    ["pinyon.services.data_plane"],
    ["pinyon.services.backups"],
    ["pinyon.services.control_plane"],
    ["pinyon.services.inference"],
    ["pinyon.services"],
    ["pinyon.auth.guarded_engine"],
    ["pinyon.storage.engines"],
    ["pinyon.storage.sqlite.installation"],
    ["pinyon.storage.sqlite.engine"],
    ["pinyon.storage.sqlite.data_plane"],
    ["pinyon.storage.sqlite.upkeep"],
    ["pinyon.storage.sqlite.records"],
    ["pinyon.storage.sqlite.filters"],
    ["pinyon.storage.sqlite.vectors"],
    ["pinyon.storage.sqlite.ivf"],
    ["pinyon.storage.sqlite.folder"],
    ["pinyon.storage.sqlite.options", "pinyon.storage.sqlite.leases"],
    ["pinyon.storage.sqlite.connection"],
    ["pinyon.storage.sqlite.schema"],
    ["pinyon.storage.sqlite.text"],
    ["pinyon.storage.sqlite"],
    ["pinyon.storage.postgres.installation"],
    ["pinyon.storage.postgres.engine", "pinyon.storage.postgres.database_report"],
    ["pinyon.storage.postgres.data_plane"],
    ["pinyon.storage.postgres.upkeep"],
    ["pinyon.storage.postgres.catalogue_copy", "pinyon.storage.postgres.backups", "pinyon.storage.postgres.files"],
    ["pinyon.storage.postgres.tables"],
    ["pinyon.storage.postgres.records.reading", "pinyon.storage.postgres.records.reembedding"],
    ["pinyon.storage.postgres.records", "pinyon.storage.postgres.filters.facets"],
    ["pinyon.storage.postgres.vectors", "pinyon.storage.postgres.text"],
    ["pinyon.storage.postgres.records.selection"],
    ["pinyon.storage.postgres.filters"],
    ["pinyon.storage.postgres"],
    ["pinyon.storage.postgres.schema", "pinyon.storage.postgres.connection.write_groups"],
    ["pinyon.storage.postgres.connection", "pinyon.storage.postgres.options"],
    ["pinyon.storage.shared.lexical", "pinyon.storage.shared.records"],
    ["pinyon.storage.shared.posting_cache", "pinyon.storage.shared.sparse", "pinyon.storage.shared.top_k"],
    ["pinyon.storage.shared"],
    ["pinyon.inference.precision_search"],
    ["pinyon.inference.bench"],
    ["pinyon.inference.catalog"],
    ["pinyon.inference.model_loader", "pinyon.inference.answer"],
    ["pinyon.inference.quantized"],
    ["pinyon.inference.backends"],
    ["pinyon.inference.backends.transformer"],
    ["pinyon.inference.model_files"],
    ["pinyon.storage", "pinyon.inference"],
    ["pinyon.settings", "pinyon.auth"],
    ["pinyon.formats.files"],
    ["pinyon.formats.jsonl", "pinyon.formats.delimited", "pinyon.formats.parquet"],
    ["pinyon.formats.layout"],
    ["pinyon.formats.rows", "pinyon.formats.folders"],
    ["pinyon.search"],
    ["pinyon.evaluation.measures"],
    ["pinyon.evaluation.collection"],
    ["pinyon.documents"],
    ["pinyon.domain"],
    ["pinyon.filters"],
    ["pinyon.search.text.words", "pinyon.patches"],
    ["pinyon.concurrency"],
    [
        "pinyon.errors",
        "pinyon.shared_files",
        "pinyon.decoding",
        "pinyon.failpoints",
        "pinyon.files",
        "pinyon.logs",
        "pinyon.native_packages",
        "pinyon.metrics",
        "pinyon.shipped",
    ],
]
SEAMS_OF_STORAGE = {f"pinyon.storage.{name}" for name in ("engine", "engines", "holder", "installation", "recall")}
ONLY_SEAMS_FROM_SERVICES = {
    "pinyon.storage.engine",
    "pinyon.inference.backend",
    "pinyon.inference.model_executor",
    "pinyon.inference.steps",
}
CATALOG = {"pinyon.inference.catalog", "pinyon.inference.answer", "pinyon.inference.model_files.manifest"}


@cache
def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(APP).with_suffix("").parts).removesuffix(".__init__"): path
        for path in APP.rglob("*.py")
    }


@cache
def imports(path: Path) -> frozenset[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found)


def layer(module: str) -> int:
    fits = {
        name: depth
        for depth, names in enumerate(LAYERS)
        for name in names
        if module == name or module.startswith(name + ".")
    }
    assert fits, f"{module} belongs to no layer; add it to LAYERS"
    return fits[max(fits, key=len)]


@pytest.mark.parametrize("module", [name for name, path in sorted(modules().items()) if path.name != "__init__.py"])
def test_imports_point_down(module: str) -> None:
    there = {name for name, path in modules().items() if path.name != "__init__.py"}
    for name in imports(modules()[module]) & there:
        assert layer(name) >= layer(module), f"{module} must not import {name}"


@pytest.mark.parametrize("module", [name for name in sorted(modules()) if name.startswith("pinyon.services.")])
def test_services_see_only_the_seams_of_storage_and_models(module: str) -> None:
    below = {
        n for n in imports(modules()[module]) & set(modules()) if n.startswith(("pinyon.storage.", "pinyon.inference."))
    }
    assert below <= ONLY_SEAMS_FROM_SERVICES | CATALOG


def test_storage_and_models_do_not_know_each_other() -> None:
    for name, path in modules().items():
        others = {"pinyon.storage": "pinyon.inference", "pinyon.inference": "pinyon.storage"}
        for own, other in others.items():
            if name.startswith(own):
                assert not any(found.startswith(other) for found in imports(path)), name


@pytest.mark.parametrize("module", [name for name in sorted(modules()) if not name.startswith("pinyon.storage")])
def test_nobody_outside_storage_reaches_past_its_seams(module: str) -> None:
    below = {name for name in imports(modules()[module]) & set(modules()) if name.startswith("pinyon.storage.")}
    assert below <= SEAMS_OF_STORAGE


CONCRETE = {
    "pinyon.storage.sqlite.engine",
    "pinyon.storage.sqlite.installation",
    "pinyon.storage.postgres.engine",
    "pinyon.storage.postgres.installation",
    "pinyon.inference.token_cache",
    "pinyon.inference.backends.sparse.bm25_backend",
    "pinyon.inference.backends.reranking.bm25_reranker",
    "pinyon.inference.backends.reranking.fused_reranker",
    "pinyon.inference.backends.embedding.hash_backend",
    "pinyon.inference.backends.embedding.joined_encoder",
    "pinyon.inference.backends.reranking.late_interaction",
    "pinyon.inference.backends.reranking.multi_vector_backend",
    "pinyon.inference.backends.transformer.openvino_backend",
    "pinyon.inference.backends.reranking.rerank_mini",
    "pinyon.inference.backends.embedding.static_backend",
    "pinyon.inference.backends.sparse.splade_backend",
    "pinyon.inference.backends.transformer.torch_backend",
    "pinyon.inference.quantized.encoder",
}


PICK_CONCRETE = {"pinyon.storage.engines", "pinyon.inference.catalog", "pinyon.inference.model_loader"}


def test_only_three_places_pick_concrete_classes() -> None:
    for name, path in modules().items():
        if name not in PICK_CONCRETE and name not in CONCRETE:
            assert not CONCRETE & imports(path), name


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
        graph[name] = (found & set(there)) - {"pinyon", name.rpartition(".")[0]}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
