"""What a power cut leaves: a kill does not show it, because the system still writes what a killed process had written."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import httpx
import msgspec
import pytest
from pinyon.asgi import create_app
from pinyon.server import Service
from pinyon.services.control_plane.addresses import Addresses
from pinyon.settings_loader import load

from tests.durability.disk import Disk
from tests.durability.workload import Client, State, run, stored
from tests.running import MODELS, config
from tests.storage.engines import ENGINES, EngineKind

pytestmark = pytest.mark.anyio
CUTS = 12
STORED = 'write_parameters = { token_vectors = "stored" }\n'


@asynccontextmanager
async def serving(
    folder: Path, data: Path, engine: str = "sqlite", models: Path = MODELS, more: str = ""
) -> AsyncIterator[httpx.AsyncClient]:
    """The whole application on a data folder, in this process. more: settings of its index."""
    ports = range(20_000, 20_010)
    told = {"data_dir": str(data), "models_dir": str(models)}
    settings = load(config(folder, more=more), {}, told)
    storage: Any = msgspec.structs.replace(settings.storage, engine=engine)
    service = Service(msgspec.structs.replace(settings, storage=storage), Addresses("localhost", 5081, ports, ports))
    ready, failures = asyncio.Event(), list[Exception]()

    def failed(error: Exception) -> None:
        failures.append(error)
        ready.set()

    async with service.running(ready.set, failed):
        await ready.wait()
        assert not failures, failures
        transport = httpx.ASGITransport(app=create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:5081", timeout=60) as client:
            yield client


# A power cut of PostgreSQL is a kill of its server: see test_postgres_faults.py.
@pytest.mark.parametrize(("name", "kind"), [("sqlite", ENGINES["sqlite"])], ids=["sqlite"])
@pytest.mark.parametrize(
    "torn",
    [
        pytest.param(False, id="nothing unsynced is there"),
        pytest.param(True, id="some unsynced sectors are there", marks=pytest.mark.slow),
    ],
)
async def test_what_was_answered_with_success_outlasts_a_power_cut(
    tmp_path: Path, name: str, kind: EngineKind, torn: bool
) -> None:
    dice = random.Random(torn)
    clients = [Client(name, random.Random(f"{torn} {name}")) for name in "xyz"]
    cuts: list[tuple[Path, list[list[State]]]] = []
    enough = asyncio.Event()
    with Disk() as disk:
        async with serving(tmp_path, tmp_path / "data", name, more=STORED) as http:

            def answered() -> None:
                if dice.random() < 0.15 and not enough.is_set():
                    to = tmp_path / f"cut-{len(cuts)}"
                    disk.cut(tmp_path / "data", to, dice if torn else None)
                    cuts.append((to, [client.possible() for client in clients]))
                    if len(cuts) == CUTS:
                        enough.set()

            running = [asyncio.ensure_future(run(client, http, answered=answered)) for client in clients]
            ending = asyncio.ensure_future(enough.wait())
            done, _ = await asyncio.wait([*running, ending], return_when=asyncio.FIRST_COMPLETED)
            for task in (*running, ending):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for task in done:
                task.result()
    assert sum(client.answered for client in clients) > 3 * CUTS
    for folder, possible in cuts:
        assert kind.left_by_power_cut(folder, "quickstart") == []
        async with serving(tmp_path, folder, name, more=STORED) as http:
            for client, states in zip(clients, possible, strict=True):
                client.check(await stored(http, client), states)
        assert kind.problems(folder, "quickstart") == []


async def test_the_disk_forgets_what_was_not_synced(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    with Disk() as disk:
        for mode in ("EXTRA", "OFF"):
            connection = apsw.Connection(str(tmp_path / mode))
            for statement in (f"PRAGMA synchronous = {mode}", "PRAGMA journal_mode = WAL", "CREATE TABLE t (x)"):
                connection.execute(statement).fetchall()
            connection.execute("INSERT INTO t VALUES (1)")
        disk.cut(tmp_path, tmp_path / "cut")
        connection.close()
    assert apsw.Connection(str(tmp_path / "cut" / "EXTRA")).execute("SELECT x FROM t").get == 1
    assert not (tmp_path / "cut" / "OFF").exists()
