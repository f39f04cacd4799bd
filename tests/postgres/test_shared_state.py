"""What services of several processes on a database have in common: judgements, and the ports of indexes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pinyon.domain import Handle, Index, IndexSpec
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.control_plane.ports import Ports
from pinyon.services.judgements.judgements import Judgements
from pinyon.services.judgements.stores import SharedJudgements
from pinyon.settings import LimitSettings
from pinyon.storage.postgres.engine import PostgresEngine

from tests.postgres.shared_server import open_postgres

pytestmark = pytest.mark.anyio
Engines = tuple[PostgresEngine, PostgresEngine]


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Engines]:
    """Two engines on one database, as two processes have them."""
    one, other = await open_postgres(tmp_path), await open_postgres(tmp_path)
    yield one, other
    await one.close()
    await other.close()


async def test_judgements_of_two_processes_at_once_are_all_kept(engines: Engines) -> None:
    index = Index(IndexSpec("docs", 4, "cosine"), Handle("docs", "1"))
    one, other = (Judgements(SharedJudgements(engine.files), LimitSettings()) for engine in engines)
    assert await one.all(index, "n") == {}
    marks = [judgements.mark(index, "n", f"query {number % 2}", f"r{number}", "good")
             for number in range(3) for judgements in (one, other)]  # fmt: skip
    await asyncio.gather(*marks)
    for judgements in (one, other):
        assert await judgements.of_query(index, "n", "query 0") == {"r0": 1, "r2": 1}
        assert await judgements.of_query(index, "n", "query 1") == {"r1": 1}
    await other.mark(index, "n", "query 1", "r1", "none")
    assert len(await one.all(index, "n")) == 1
    assert await one.all(index, "x" * 500) == {}


async def test_a_process_knows_the_ports_that_another_one_gives(engines: Engines) -> None:
    addresses = Addresses("localhost", 5080, index_ports=(5081, 5082), port_range=(5081, 5082))
    one, other = (Ports(engine, addresses) for engine in engines)
    await one.load()
    await other.load()
    told = asyncio.Event()
    engines[1].watch(told.set)
    await one.take("docs")
    await told.wait()
    while other.of("docs") is None:  # it reads them once it is told
        await asyncio.sleep(0)
    assert other.index_at(5081) == "docs"
    await other.take("more")
    assert other.of("more") == 5082
