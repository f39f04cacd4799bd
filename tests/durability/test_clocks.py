"""A clock that jumps changes nothing: order, expiry and limits go by counters and by the clock that only runs on."""

import re
import time
from pathlib import Path

import httpx
import pytest

from tests.durability.test_power import serving

pytestmark = pytest.mark.anyio
APP = Path(__file__).parent.parent.parent / "app" / "pinyon"
MAY_ASK = {
    "storage/sqlite/folder/backups/folder_backup.py",
    "storage/sqlite/folder/data_dir.py",
    "cli/certificates.py",
    "cli/transfer/installations/snapshots.py",
    "auth/stored_keys.py",
    "logs.py",
    "services/moments.py",
}
"""They write down when something was made, for people. Only the schedules of backups go by it, as they are meant to."""


def test_only_what_tells_people_the_time_asks_for_it() -> None:
    asking = re.compile(r"time\.time\(|datetime\.now\(|utcnow|\.today\(")
    found = {str(path.relative_to(APP)) for path in APP.rglob("*.py") if asking.search(path.read_text())}
    assert found <= MAY_ASK


async def test_writes_and_restarts_with_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, lsns = time.time, []

    async def write(http: httpx.AsyncClient, n: int) -> None:
        row = {"_id": f"r{n}", "chunk_text": f"text {n}"}
        answer = await http.post("/records/namespaces/a/upsert", json=row)
        assert answer.status_code == 201
        lsns.append(int(answer.headers["x-pinecone-request-lsn"]))

    for n, jump in enumerate((0, -(10**9), 10**9, -(10**9))):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        async with serving(tmp_path, tmp_path / "data") as http:
            for k in range(3):
                await write(http, 10 * n + k)
            query = {"query": {"inputs": {"text": "text"}, "top_k": 100}}
            found = await http.post("/records/namespaces/a/search", json=query)
            assert len(found.json()["result"]["hits"]) == 3 * (n + 1)
    assert lsns == sorted(lsns)
