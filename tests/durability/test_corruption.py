"""Damage of any file, of any kind: no crash, nothing removed, no other index touched, no wrong answer without a word."""

import json
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pinyon.domain import PagePlan

from tests.durability.corruption import (
    DAMAGES,
    FROM,
    answers,
    damageable,
    digests,
    index_of,
    make,
    opened,
)
from tests.running import RunningServer, free_ports

pytestmark = pytest.mark.anyio

NAMES = ["docs", "large", "sparse"]
CASES, MANY_CASES = 20, 1_000
SERVED = [
    "docs-0",
    "docs-1",
    "large-0",
    "large-1",
    *(f"docs-{n}" for n in range(2, 12)),
    *(f"plain-{n}" for n in range(10)),
    *(f"sparse-{n}" for n in range(6)),
]
STARTS, MANY_STARTS, DAMAGED_AT_ONCE = 1, 84, 12


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def folders(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Path, Path, Path]]:
    yield await make(tmp_path_factory.mktemp("corruption"), NAMES)


@pytest.fixture(scope="module")
async def served_folders(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Path, Path, Path]]:
    yield await make(tmp_path_factory.mktemp("served"), SERVED)


@pytest.mark.parametrize("cases", [CASES, pytest.param(MANY_CASES, marks=pytest.mark.slow)])
async def test_a_damaged_file_never_takes_data_or_another_index_down(
    folders: tuple[Path, Path, Path], tmp_path: Path, cases: int
) -> None:
    closed, killed, older = folders
    right = {}
    shutil.copytree(killed, tmp_path / "whole")
    engine = await opened(tmp_path / "whole")
    await engine.upkeep_done()
    for name in NAMES:
        right[name] = await answers(engine, name)
        assert right[name] is not None
    await engine.close()
    refused = 0
    for seed in range(cases):
        dice = random.Random(f"{cases} {seed}")
        source = dice.choice([closed, killed])
        file = dice.choice(damageable(source))
        damage = dice.choice(DAMAGES)
        case = f"seed {seed}: {damage.__name__} of {source.name}/{file}"
        data = tmp_path / "data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(source, data)
        damage(data / file, dice, older / file)
        before = digests(data)
        engine = await opened(data)
        await engine.upkeep_done()
        broken = set(engine.unusable())
        assert broken <= {index_of(file)}, f"{case}: {broken}"
        for name in NAMES:
            said = await answers(engine, name)
            if said is None:
                assert name in engine.unusable() and index_of(file) == name, f"{case}: {name} is refused"
                refused += 1
            else:
                compared(right[name], said, f"{case}: {name}")
        await engine.close()
        if broken:  # what was refused is there, byte by byte
            kept = digests(data)
            lost = [name for content, name in before.items() if name.startswith(tuple(broken)) and content not in kept]
            assert not lost, f"{case}: {lost} changed or gone"
    assert refused > cases / 10, "the damage was of no account"


def compared(right: dict[str, object] | None, said: dict[str, object], case: str) -> None:
    assert right is not None
    for question in said.keys() & right.keys():
        assert said[question] == right[question], f"{case}: {question}"


CONFIG = f"[storage]\napproximate_from = {FROM}\n"


@pytest.mark.parametrize("starts", [STARTS, pytest.param(MANY_STARTS, marks=pytest.mark.slow)])
async def test_a_server_over_damaged_files_answers_for_all_others(
    served_folders: tuple[Path, Path, Path], tmp_path: Path, starts: int
) -> None:
    closed, killed, older = served_folders
    config = tmp_path / "pinyon.toml"
    config.write_text(CONFIG)
    right = {}
    shutil.copytree(killed, tmp_path / "whole")
    engine = await opened(tmp_path / "whole")
    right = {name: await http_like(engine, name) for name in SERVED}
    await engine.close()
    for number in range(starts):
        dice = random.Random(f"{starts} {number}")
        source = dice.choice([closed, killed])
        data = tmp_path / "data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(source, data)
        cases: dict[str | None, str] = {}
        files = damageable(source)
        dice.shuffle(files)
        for file in files:
            if index_of(file) in cases or file.name in ("keys.json", "holder.json") or len(cases) == DAMAGED_AT_ONCE:
                continue
            damage = dice.choice(DAMAGES)
            damage(data / file, dice, older / file)
            cases[index_of(file)] = f"start {number}: {damage.__name__} of {source.name}/{file}"
        (data / "keys.json").unlink()
        server = RunningServer(config, data, "--index-ports", free_ports(len(SERVED)))
        with server.client() as client:
            ready = client.get("/ready")
            assert ready.status_code == 200, ready.text
            broken = ready.json().get("unusable", {})
            assert broken.keys() <= {name for name in cases if name}, f"{broken} of {cases}"
            hosts = {one["name"]: one["host"] for one in client.get("/indexes").json()["indexes"]}
            for name in SERVED:
                if name in broken:
                    continue
                assert name in hosts, f"{name} is gone without a word; {cases.get(name)}"
                assert asked(client, hosts[name]) == right[name], f"{name}: {cases.get(name, cases)}"
        assert server.stop() == 0, server.text
        assert "Traceback" not in server.text, server.text


async def http_like(engine: object, name: str) -> object:
    """What asked() gets from an index that is whole."""
    page = await engine.page(name, "a", PagePlan(10_000))  # type: ignore[attr-defined]
    namespaces = await engine.every_namespace(name)  # type: ignore[attr-defined]
    kept = {record.id: record.metadata for record in page.records}
    return {each.name: each.record_count for each in namespaces}, {id: kept[id] for id in sorted(kept)[:50]}


def asked(client: httpx.Client, host: str) -> object:
    url = host if host.startswith("http") else f"http://{host}"
    stats = client.post(f"{url}/describe_index_stats", json={})
    ids = [f"r{n:04}" for n in range(52)]
    fetched = client.get(f"{url}/vectors/fetch", params=[("namespace", "a"), *(("ids", id) for id in ids)])
    if stats.status_code != 200 or fetched.status_code != 200:
        return json.dumps([stats.text, fetched.text])
    counts = {name: each["vectorCount"] for name, each in stats.json()["namespaces"].items()}
    return counts, {id: each["metadata"] for id, each in fetched.json()["vectors"].items()}
