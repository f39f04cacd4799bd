"""kill -9 at any moment: what was acknowledged is there, what was not is there as a whole or not at all."""

import random
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pinyon.domain import IndexSpec, Record
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.engine import SqliteEngine

from tests.running import RunningServer, config, free_ports
from tests.storage.consistency import problems

KILLS = 20
BATCH = 5


class Answers:
    """Counts the acknowledged requests of several threads."""

    def __init__(self) -> None:
        self._count, self._counted = 0, threading.Condition()

    def add(self) -> None:
        with self._counted:
            self._count += 1
            self._counted.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait until there are so many: a busy machine gets as much done before a kill as another."""
        with self._counted:
            assert self._counted.wait_for(lambda: self._count >= count, 120)


def write_until_it_dies(url: str, namespace: str, worker: int, acknowledged: set[str], answers: Answers) -> None:
    """Upsert batches, some over earlier ones; note each batch that was answered with 201."""
    with httpx.Client(base_url=url, timeout=120) as client:
        for n in range(100_000):
            batch = f"{worker}-{n}"
            rows = [{"_id": f"{batch}-{i}", "chunk_text": f"text {n}", "batch": batch} for i in range(BATCH)]
            rows.append({"_id": f"{worker}-latest", "chunk_text": "overwritten each time", "batch": batch, "n": n})
            try:
                answer = client.post(f"/records/namespaces/{namespace}/upsert", json=rows)
            except httpx.HTTPError:
                return
            assert answer.status_code == 201, answer.text
            acknowledged.add(batch)
            answers.add()


@pytest.mark.slow
def test_no_acknowledged_record_is_lost_by_kill_9(tmp_path: Path) -> None:
    path, data, dice = config(tmp_path), tmp_path / "data", random.Random(9)
    acknowledged_in_all = 0
    server = RunningServer(path, data)
    for kill in range(KILLS):
        namespace, acknowledged, answers = f"kill-{kill}", [set[str]() for _ in range(3)], Answers()
        writers = [
            threading.Thread(
                target=write_until_it_dies, args=(server.url, namespace, worker, acknowledged[worker], answers)
            )
            for worker in range(3)
        ]
        for writer in writers:
            writer.start()
        answers.wait_for(dice.randrange(1, 50))
        time.sleep(dice.uniform(0, 0.03))  # the moment of the kill within a request is what is tested
        server.kill()
        for writer in writers:
            writer.join()

        assert problems(data / "indexes" / "quickstart.sqlite") == []
        server = RunningServer(path, data)
        with server.client() as client:
            query = {"query": {"inputs": {"text": "text"}, "top_k": 10_000}, "fields": ["batch", "n"]}
            answer = client.post(f"/records/namespaces/{namespace}/search", json=query)
        check(answer.json()["result"]["hits"], acknowledged)
        acknowledged_in_all += sum(map(len, acknowledged))
    assert server.stop() == 0
    assert acknowledged_in_all > 10 * KILLS, "too little was written for the kills to mean anything"


def check(hits: list[dict[str, Any]], acknowledged: list[set[str]]) -> None:
    batches: dict[str, int] = {}
    latest = {hit["_id"]: hit["fields"]["n"] for hit in hits if hit["_id"].endswith("latest")}
    for hit in hits:
        if not hit["_id"].endswith("latest"):
            batches[hit["fields"]["batch"]] = batches.get(hit["fields"]["batch"], 0) + 1
    assert set(batches.values()) <= {BATCH}, "half a batch"
    for worker, done in enumerate(acknowledged):
        assert done <= set(batches), "an acknowledged batch is lost"
        # At most the one request in flight at the kill may have been stored without an answer.
        assert len([b for b in batches if b.startswith(f"{worker}-")]) - len(done) in (0, 1)
        if done:
            newest = max(int(batch.split("-")[1]) for batch in done)
            assert latest[f"{worker}-latest"] in (newest, newest + 1), "an acknowledged overwrite is lost"


@pytest.mark.anyio
async def test_the_check_after_a_kill_sees_what_does_not_fit(tmp_path: Path) -> None:
    engine = await SqliteEngine.open_folder(tmp_path, 1, 0)
    await engine.create_index(IndexSpec("docs", 2, "cosine"))
    await engine.upsert("docs", "a", [Record(f"r{n}", np.ones(2, np.float32), {"n": n}) for n in range(3)])
    await engine.close()
    file = tmp_path / "indexes" / "docs.sqlite"
    assert problems(file) == []
    damages = {
        "DELETE FROM vectors WHERE rowid = 1": "2 vectors for 3 records",
        "DELETE FROM postings WHERE record = 2": "1 postings missing, 0 too many",
        "UPDATE namespaces SET record_count = 4": "namespace a counts 4 records and has 3",
    }
    for damage in damages:
        connection = connect(file, 0, "write")
        connection.execute(damage)
        connection.close()
    assert problems(file) == list(damages.values())


def make_and_delete_until_it_dies(url: str, worker: int, log: list[tuple[str, bool]], answers: Answers) -> None:
    """Create indexes and delete every other one; note each acknowledgement: (name, whether it is there)."""
    spec = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
    with httpx.Client(base_url=url, timeout=120) as client:
        for n in range(1000):
            name = f"w{worker}-{n}"
            try:
                answer = client.post(
                    "/indexes", json={"name": name, "dimension": 2, "spec": spec, "tags": {"n": str(n)}}
                )
                assert answer.status_code == 201, answer.text
                log.append((name, True))
                answers.add()
                if n % 2:
                    assert client.delete(f"/indexes/{name}").status_code == 202
                    log.append((name, False))
                    answers.add()
            except httpx.HTTPError:
                return


@pytest.mark.slow
def test_indexes_are_there_as_a_whole_or_not_at_all_after_kill_9(tmp_path: Path) -> None:
    path, data, dice, ports = config(tmp_path), tmp_path / "data", random.Random(4), free_ports(300)
    known: dict[str, bool] = {}
    addresses: dict[str, str] = {}
    server = RunningServer(path, data, "--index-ports", ports)
    for kill in range(KILLS):
        logs: list[list[tuple[str, bool]]] = [[], []]
        answers = Answers()
        threads = [
            threading.Thread(target=make_and_delete_until_it_dies, args=(server.url, 10 * kill + n, log, answers))
            for n, log in enumerate(logs)
        ]
        for thread in threads:
            thread.start()
        answers.wait_for(dice.randrange(1, 18))
        time.sleep(dice.uniform(0, 0.03))  # the moment of the kill within a request is what is tested
        server.kill()
        for thread in threads:
            thread.join()
        server = RunningServer(path, data, "--index-ports", ports)
        with server.client() as client:
            there = {index["name"]: index for index in client.get("/indexes").json()["indexes"]}
        files = {file.stem for file in (data / "indexes").glob("*.sqlite")}
        assert files == set(there), "a file without an index, or an index without a file"
        known.update(entry for log in logs for entry in log)
        unsure = {
            f"w{10 * kill + n}-{len({name for name, _ in log}) - back}" for n, log in enumerate(logs) for back in (0, 1)
        }
        assert {name for name, is_there in known.items() if is_there} - unsure <= set(there), "a lost index"
        assert {name for name, is_there in known.items() if not is_there}.isdisjoint(there), "a deleted index is back"
        hosts = {name: index["host"] for name, index in there.items() if name != "quickstart"}
        assert len(set(hosts.values())) == len(hosts), "two indexes on one address"
        assert all(hosts[name] == host for name, host in addresses.items() if name in hosts), "an address has moved"
        assert all(there[name]["tags"] for name in hosts), "half an index"
        addresses |= hosts
        with server.client() as client:  # make room for the next
            for name in hosts:
                if len(hosts) > 200:
                    assert client.delete(f"/indexes/{name}").status_code == 202
                    known[name] = False
        known = {name: is_there for name, is_there in known.items() if name in there or not is_there}
    assert server.stop() == 0
    assert len(addresses) > 2 * KILLS, "too little was made for the kills to mean anything"
