"""Real models: the packaged MiniLM, and the tiny cross-encoder made on the spot."""

from pathlib import Path

import pytest
from pinyon.inference.catalog import Catalog

from tests.inference import tiny_cross_encoder
from tests.running import MODELS


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The project's own catalogue, without weights but the packaged ones, stand-ins on."""
    return Catalog(MODELS, stand_ins=True)


@pytest.fixture(scope="session")
def cross_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cross_encoder.make(tmp_path_factory.mktemp("tiny") / "bge-reranker-v2-m3")
