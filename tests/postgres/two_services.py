"""Two whole Pinyon applications on one database, in this process."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from pinyon.asgi import create_app
from pinyon.server import Service
from pinyon.services import leased_jobs, leases
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.imports import imports
from pinyon.services.judgements import measurements
from pinyon.settings_loader import load

from tests.postgres.shared_server import schema_of, shared
from tests.running import MODELS, config


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes ask each other's news all the time, so that tests need not wait."""
    monkeypatch.setattr(leases, "RENEWED_EVERY_S", 0.5)
    monkeypatch.setattr(leased_jobs, "TRIED_EVERY_S", 0.05)
    monkeypatch.setattr(leased_jobs, "LOOKED_EVERY_S", 0.05)
    monkeypatch.setattr(imports, "ASKED_EVERY_S", 0.05)
    monkeypatch.setattr(imports, "TOLD_EVERY_S", 0)
    monkeypatch.setattr(measurements, "STORED_EVERY_S", 0.05)


def settings_of(folder: Path, dsn: str = "", schema: str = "") -> Path:
    """A settings file for a schema of a database; by default one of the shared server that stands for the folder.

    Files may be imported from folder/import.
    """
    (folder / "import").mkdir(parents=True, exist_ok=True)
    storage = (
        f'[storage]\nengine = "postgres"\ndsn = "{dsn or shared().dsn}"\nschema = "{schema or schema_of(folder)}"\n'
    )
    return config(folder, more=f"{storage}[import]\nallow = [{json.dumps(str(folder / 'import'))}]\n")


class Site(msgspec.Struct, frozen=True):
    """A running application. http: its client; indexes have host names NAME.localhost."""

    service: Service
    http: httpx.AsyncClient


@asynccontextmanager
async def running(folder: Path, models: Path = MODELS) -> AsyncIterator[Site]:
    """An application on the database that stands for a folder."""
    told = {"data_dir": str(folder / "absent"), "models_dir": str(models)}
    service = Service(load(settings_of(folder), {}, told), Addresses("localhost", 5081, index_host="{index}.localhost"))
    ready, failures = asyncio.Event(), list[Exception]()

    def failed(error: Exception) -> None:
        failures.append(error)
        ready.set()

    async with service.running(ready.set, failed):
        await ready.wait()
        assert not failures, failures
        transport = httpx.ASGITransport(app=create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:5081", timeout=60) as http:
            yield Site(service, http)
