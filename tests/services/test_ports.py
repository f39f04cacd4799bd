"""Which index has which port: through restarts, crashes and changes of the range, and for two processes at once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pinyon.domain import CatalogueValue, IndexSpec
from pinyon.errors import AlreadyExists, NotFound, PermissionDenied, Unavailable
from pinyon.services.control_plane.addresses import Addresses
from pinyon.services.control_plane.index_rules import IndexOptions
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.control_plane.ports import Ports
from pinyon.services.control_plane.readiness import Readiness
from pinyon.storage.engine import Engine

from tests.storage.engines import EngineKind, every_engine

pytestmark = [pytest.mark.anyio, every_engine]
MAIN = 5080
THREE = (5081, 5082, 5083)


def addresses(free: Sequence[int], wanted: Sequence[int] | None = None) -> Addresses:
    return Addresses("localhost", MAIN, free, free if wanted is None else wanted)


async def service(engine: Engine, free: Sequence[int] = THREE, wanted: Sequence[int] | None = None) -> Indexes:
    none: Any = None
    indexes = Indexes(engine, none, none, addresses(free, wanted), Readiness())
    await indexes.open(None)
    await indexes.assign_ports()
    return indexes


def port(indexes: Indexes, name: str) -> int:
    return int(indexes.url(indexes.index(name)).rpartition(":")[2])


async def create(indexes: Indexes, name: str) -> int:
    await indexes.create(IndexSpec(name, 2, "cosine"), IndexOptions())
    return port(indexes, name)


async def test_ports_are_given_out_lowest_first_and_again_last(tmp_path: Path, kind: EngineKind) -> None:
    engine = await kind.open(tmp_path)
    indexes = await service(engine)
    assert [await create(indexes, "a"), await create(indexes, "b")] == [5081, 5082]
    await indexes.delete("a")
    assert await create(indexes, "c") == 5083
    await indexes.delete("b")
    assert await create(indexes, "d") == 5081  # released before 5082
    await indexes.delete("d")
    await indexes.delete("c")
    assert await create(indexes, "c") == 5083  # its own, so that clients which still know it are right
    assert [await create(indexes, "e"), await create(indexes, "f")] == [5082, 5081]
    with pytest.raises(PermissionDenied, match="No port is left for the index g"):
        await create(indexes, "g")
    assert [index.name for index in engine.indexes()] == ["c", "e", "f"]
    await engine.close()


async def test_a_restart_keeps_ports_and_requests_find_their_index(tmp_path: Path, kind: EngineKind) -> None:
    engine = await kind.open(tmp_path)
    indexes = await service(engine)
    for name in ("b", "a"):
        await create(indexes, name)
    await engine.close()
    engine = await kind.open(tmp_path)
    indexes = await service(engine)
    assert (port(indexes, "a"), port(indexes, "b")) == (5082, 5081)
    assert [indexes.at("localhost", each).name for each in (5081, 5082)] == ["b", "a"]
    with pytest.raises(NotFound, match="No index answers on port 5083"):
        indexes.at("localhost", 5083)
    await engine.close()


async def test_indexes_made_at_the_same_time_never_share_a_port(tmp_path: Path, kind: EngineKind) -> None:
    """Also those of two services, as two processes beside one engine would be."""
    engine = await kind.open(tmp_path)
    ports = range(6_000, 6_008)
    services = [await service(engine, ports) for _ in range(2)]
    given = await asyncio.gather(*(create(services[number % 2], f"index-{number}") for number in range(8)))
    assert sorted(given) == list(ports)
    await engine.close()


async def test_a_port_outside_the_range_is_replaced_and_one_inside_is_kept_even_if_it_is_busy(
    tmp_path: Path, kind: EngineKind, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await kind.open(tmp_path)
    await create(await service(engine), "docs")
    busy = await service(engine, [5082], [5081, 5082])
    assert port(busy, "docs") == 5081
    assert "index docs cannot be reached: its port 5081 is taken by another program" in caplog.text
    assert busy.state(busy.index("docs")) == "Disabled"
    moved = await service(engine, [6082, 6083], [6081, 6082, 6083])
    assert port(moved, "docs") == 6082
    with pytest.raises(NotFound):
        moved.at("localhost", 5081)
    await engine.close()


async def test_a_start_frees_the_port_of_an_index_that_is_gone(tmp_path: Path, kind: EngineKind) -> None:
    """Such as after a kill between the deletion and the freeing of the port, or before the index was made."""
    engine = await kind.open(tmp_path)
    indexes = await service(engine, [5081])
    await create(indexes, "docs")
    await engine.delete_index("docs")
    indexes = await service(engine, [5081])
    assert await create(indexes, "other") == 5081
    await engine.close()


async def test_an_index_that_cannot_be_made_gets_no_port_and_takes_none_from_another(
    tmp_path: Path, kind: EngineKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await kind.open(tmp_path)
    indexes = await service(engine, [5081])

    async def fails(*_: object) -> None:
        raise Unavailable("The disk did not take the new index")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "create_index", fails)
        with pytest.raises(Unavailable):
            await create(indexes, "docs")
    made = await asyncio.gather(create(indexes, "docs"), create(indexes, "docs"), return_exceptions=True)
    assert [type(each) for each in made] == [int, AlreadyExists]
    assert indexes.at("localhost", 5081).name == "docs"
    await engine.close()


async def test_one_that_only_reads_chooses_ports_for_itself(tmp_path: Path, kind: EngineKind) -> None:
    engine = await kind.open(tmp_path)
    await create(await service(engine), "docs")
    stored = await engine.catalogue_values()
    ports = Ports(engine, addresses([5082, 5083], THREE), read_only=True)
    await ports.load()
    await ports.assign("docs")
    assert (ports.of("docs"), ports.index_at(5082), ports.index_at(5081)) == (5082, "docs", None)
    assert await engine.catalogue_values() == stored
    await engine.close()


async def test_values_that_cannot_be_read_cost_their_port_only(
    tmp_path: Path, kind: EngineKind, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await kind.open(tmp_path)
    await create(await service(engine), "docs")
    await engine.put_catalogue_value("port/5082", "{", 0)
    await engine.put_catalogue_value("port/x", "{}", 0)
    await engine.put_catalogue_value("else", "1", 0)
    indexes = await service(engine)
    assert port(indexes, "docs") == 5081
    assert "which index had port 5082 cannot be read" in caplog.text
    assert await create(indexes, "other") == 5082
    assert (await engine.catalogue_values())["port/5082"] == CatalogueValue('{"index":"other","released":null}', 2)
    await engine.close()
