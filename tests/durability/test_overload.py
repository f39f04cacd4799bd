"""More than it can do at once: every request is answered or refused, and memory, files and the log stay within bounds."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from benchmarks.soak import Seen, load
from tests.running import RunningServer, config, plain_config

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.alone]
MB = 2**20


async def test_512_connections_are_answered_or_refused(tmp_path: Path) -> None:
    server, seen = RunningServer(config(tmp_path), tmp_path / "data"), Seen()
    await load(server, tmp_path / "data", seen, clients=512, seconds=20, pause_s=1.0)
    assert server.stop() == 0
    assert seen.wrong == []
    assert len(seen.seconds) > 1024, "too few requests to mean anything"
    assert seen.files < 700
    assert seen.resident < 500 * MB
    assert seen.log < 100 * MB
    assert "unexpected" not in server.text


async def test_bodies_at_the_limit_from_many_clients_at_once_take_bounded_memory(tmp_path: Path) -> None:
    server = RunningServer(plain_config(tmp_path, "dimension = 384"), tmp_path / "data")
    rows = [{"id": f"r{n}", "values": [0.123456789] * 384} for n in range(400)]
    body = json.dumps({"vectors": rows, "namespace": "a"}).encode()
    assert 1.5 * MB < len(body) <= 2 * MB
    seen, limits = Seen(), httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as http:
        answers = await asyncio.gather(*(http.post("/vectors/upsert", content=body) for _ in range(192)))
        seen.look(server.process.pid, tmp_path / "data")
        peak = int(Path(f"/proc/{server.process.pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
        assert {answer.status_code for answer in answers} <= {200, 503}
        assert any(answer.status_code == 200 for answer in answers)
        stats = (await http.get("/describe_index_stats")).json()
        assert stats["totalVectorCount"] == 400
    assert server.stop() == 0
    assert peak < 1_500 * MB
    assert seen.log < 200 * MB
