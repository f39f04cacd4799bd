"""A request's index is looked up by its name; the indexes of an installation are not listed for it."""

from typing import Any

import pytest
from pinyon.domain import CatalogueValue, Handle, Index, IndexSpec
from pinyon.errors import DataLoss, NotFound
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.control_plane.readiness import Readiness
from pinyon.settings import IndexSettings
from pinyon.storage.engine import EngineLimits

pytestmark = pytest.mark.anyio

DOCS = Index(IndexSpec("docs", 4, "cosine"), handle=Handle("docs", "1"))


class Engine:
    """Knows one index by its name, or none, or one that is damaged. It has no list of indexes."""

    limits = EngineLimits(dimension=10)

    def __init__(self, answer: Index | Exception) -> None:
        self._answer = answer

    def watch(self, changed: Any) -> None:
        return None

    async def catalogue_values(self) -> dict[str, CatalogueValue]:
        return {"port/5081": CatalogueValue('{"index":"docs"}', 1)}

    def being_opened(self) -> set[str]:
        return {"docs"}

    def index(self, _: Any) -> Index:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


async def indexes(answer: Index | Exception) -> Indexes:
    engine: Any = Engine(answer)
    none: Any = None
    service = Indexes(engine, none, none, Addresses("localhost", 5080), Readiness())
    await service.open(IndexSettings("docs", dimension=4))
    return service


async def test_the_main_port_leads_to_the_index_of_the_settings_without_a_list_of_all() -> None:
    assert (await indexes(DOCS)).at("localhost:5080", 5080) is DOCS


async def test_a_port_leads_to_its_index_without_a_list_of_all() -> None:
    assert (await indexes(DOCS)).at("localhost:5081", 5081) is DOCS


async def test_without_that_index_nothing_answers_on_the_main_port() -> None:
    service = await indexes(NotFound("Index docs not found."))
    assert service.default is None
    with pytest.raises(NotFound, match="No index answers on the main port"):
        service.at("localhost:5080", 5080)


async def test_a_damaged_index_still_has_the_main_port_and_says_what_is_wrong() -> None:
    service = await indexes(DataLoss("the file is damaged"))
    assert service.default == "docs"
    with pytest.raises(DataLoss, match="the file is damaged"):
        service.at("localhost:5080", 5080)
