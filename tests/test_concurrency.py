"""Many clients at once."""

import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.running import RunningServer

CLIENTS, ROUNDS = 64, 6


@pytest.mark.parametrize("kind", ["dotproduct"])
def test_64_clients_mixing_everything_meet_no_lock_and_no_error(
    plain_servers: Callable[[str], RunningServer], namespace: str, kind: str
) -> None:
    server, troubles = plain_servers(kind), list[str]()

    def work(worker: int) -> None:
        own, common = f"{namespace}-{worker % 8}", {"namespace": f"{namespace}-{worker % 8}"}
        with server.client() as client:

            def post(path: str, **body: Any) -> Any:
                answer = client.post(path, json={**common, **body})
                if answer.status_code != 200:
                    troubles.append(f"{path}: {answer.status_code} {answer.text}")
                return answer.json()

            for n in range(ROUNDS):
                rows = [
                    {"id": f"{worker}-{n}-{i}", "values": [1, i], "metadata": {"worker": worker, "n": n}}
                    for i in range(20)
                ]
                post("/vectors/upsert", vectors=rows)
                mine = {"worker": worker, "n": n}
                found = post("/query", vector=[1, 1], topK=100, filter=mine)["matches"]
                if len(found) != 20:
                    troubles.append(f"{len(found)} of 20 own records in {own}")
                post("/vectors/update", filter=mine, setMetadata={"seen": True})
                post("/vectors/fetch_by_metadata", filter={**mine, "seen": True})
                post("/vectors/delete", ids=[row["id"] for row in rows[:10]])
                post("/describe_index_stats")
                if len(post("/query", vector=[1, 1], topK=100, filter=mine)["matches"]) != 10:
                    troubles.append("deleted records were found, or others lost")

    workers = [threading.Thread(target=work, args=(n,)) for n in range(CLIENTS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert troubles == []
    with server.client() as client:
        counts = client.post("/describe_index_stats").json()["namespaces"]
    assert all(counts[f"{namespace}-{n}"] == {"vectorCount": CLIENTS // 8 * ROUNDS * 10} for n in range(8))


def test_reads_go_on_during_a_long_write(plain_servers: Callable[[str], RunningServer], namespace: str) -> None:
    server = plain_servers("cosine")
    body = {"namespace": namespace, "filter": {"g": 1}, "setMetadata": {"t": "x" * 200}}
    with server.client() as client:
        for start in range(0, 20_000, 1000):
            rows = [{"id": f"r{n}", "values": [1, n], "metadata": {"g": 1}} for n in range(start, start + 1000)]
            client.post("/vectors/upsert", json={"namespace": namespace, "vectors": rows}).raise_for_status()
    answers: list[httpx.Response] = []

    def write() -> None:
        with server.client() as client:
            answers.append(client.post("/vectors/update", json=body))

    writer, reads = threading.Thread(target=write), 0
    writer.start()
    with server.client() as client:
        while writer.is_alive():
            read = client.post("/query", json={"namespace": namespace, "vector": [1, 0], "topK": 1})
            assert read.status_code == 200
            reads += 1
    assert answers[0].json() == {"matchedRecords": 20_000}
    assert reads > 3, "the reads waited for the write"
