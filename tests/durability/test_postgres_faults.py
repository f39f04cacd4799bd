"""What happens to a PostgreSQL database ends in answers of 503, and costs no acknowledged write. Nobody has to help."""

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.durability.postgres_service import (
    PATIENCE_S,
    SAFE,
    Outcome,
    answers,
    ask,
    check,
    clients_of,
    lines_of_outages,
    serve,
    work,
)
from tests.durability.slow_network import network_to
from tests.postgres.server import UNPRIVILEGED, Server, make_folder, replica_of, running
from tests.running import RunningServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
KILLS = int(os.environ.get("KILLS", "100"))
UPSERT, SEARCH = "/records/namespaces/a/upsert", "/records/namespaces/a/search"
ROW = [{"_id": "r", "chunk_text": "apple"}]
QUERY = {"query": {"inputs": {"text": "apple"}, "top_k": 3}}


@pytest.fixture
def database() -> Iterator[Server]:
    with running(**SAFE) as server:
        yield server


def client_of(server: RunningServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_S)


async def test_kill_9_of_the_primary_loses_no_acknowledged_write(tmp_path: Path, database: Server) -> None:
    dice, clients, outcome = random.Random(KILLS), clients_of("wxyz"), Outcome()
    pinyon = await asyncio.to_thread(serve, tmp_path, database.dsn)
    async with client_of(pinyon) as http:
        for _ in range(KILLS):
            end = asyncio.Event()
            tasks = [asyncio.create_task(work(client, http, outcome, end)) for client in clients]
            await answers(outcome, 5)
            await asyncio.sleep(dice.uniform(0, 0.3))
            await asyncio.to_thread(database.kill)
            await asyncio.to_thread(database.start)
            end.set()
            await asyncio.gather(*tasks)
            await check(clients, http, database.dsn)
    print(f"{KILLS} kills of the primary: {outcome}")
    lines_of_outages(pinyon)
    assert pinyon.stop() == 0


async def test_kill_9_of_pinyon_during_writes_leaves_nothing_half_done(tmp_path: Path, database: Server) -> None:
    dice, clients, outcome = random.Random(KILLS), clients_of("wxyz"), Outcome()
    for _ in range(max(3, KILLS // 10)):
        pinyon = await asyncio.to_thread(serve, tmp_path, database.dsn)
        async with client_of(pinyon) as http:
            await check(clients, http, database.dsn)
            end = asyncio.Event()
            tasks = [asyncio.create_task(work(client, http, outcome, end)) for client in clients]
            await answers(outcome, 5)
            await asyncio.sleep(dice.uniform(0, 0.3))
            pinyon.kill()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(ended, httpx.HTTPError), ended
    pinyon = await asyncio.to_thread(serve, tmp_path, database.dsn)
    async with client_of(pinyon) as http:
        await check(clients, http, database.dsn)
    print(f"kills of Pinyon: {outcome}")
    assert pinyon.stop() == 0


async def test_a_lock_that_is_held_too_long_costs_the_requests_that_wait_for_it(
    tmp_path: Path, database: Server
) -> None:
    pinyon = await asyncio.to_thread(serve, tmp_path, database.dsn, statement_timeout_s=1.0, connections=2)
    outcome = Outcome()
    async with client_of(pinyon) as http:
        assert (await ask(http, outcome, "POST", UPSERT, ROW)).status_code == 201
        async with await psycopg.AsyncConnection.connect(database.dsn) as holder:
            await holder.execute("LOCK TABLE pinyon_1.state")
            # More requests than connections: each is refused by the database, or finds no free connection.
            refused = await asyncio.gather(*(ask(http, outcome, "POST", SEARCH, QUERY) for _ in range(20)))
            assert {answer.status_code for answer in refused} == {503}
            assert (await ask(http, outcome, "POST", UPSERT, ROW)).status_code == 503
            await holder.rollback()
        assert (await ask(http, outcome, "POST", SEARCH, QUERY)).status_code == 200
        assert (await ask(http, outcome, "POST", UPSERT, ROW)).status_code == 201
    print(f"a lock that is held: {outcome}")
    assert len(lines_of_outages(pinyon)) <= 2
    assert pinyon.stop() == 0


async def test_a_replica_dies_and_then_takes_the_place_of_the_primary(tmp_path: Path, database: Server) -> None:
    clients, outcome, end = clients_of("wx"), Outcome(), asyncio.Event()
    with replica_of(database) as replica:
        dsn = f"host={database.folder},{replica.folder} user=postgres dbname=postgres"
        more = {"read_preference": "replica", "replica_dsns": [replica.dsn], "statement_timeout_s": 2.0}
        pinyon = await asyncio.to_thread(serve, tmp_path, dsn, **more)
        async with client_of(pinyon) as http:
            assert (await ask(http, outcome, "POST", UPSERT, ROW)).status_code == 201

            await asyncio.to_thread(replica.kill)
            for _ in range(5):  # the primary answers in its place
                assert (await ask(http, outcome, "POST", SEARCH, QUERY)).json()["result"]["hits"][0]["_id"] == "r"
            assert outcome.refused == 0

            await asyncio.to_thread(database.execute, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            await asyncio.to_thread(database.execute, "SELECT pg_reload_conf()")
            answer = await ask(http, outcome, "POST", UPSERT, ROW)  # there is no standby that could have it
            assert answer.status_code == 503
            assert "may or may not be stored" in answer.text

            await asyncio.to_thread(replica.start)
            tasks = [asyncio.create_task(work(client, http, outcome, end)) for client in clients]
            await answers(outcome, 30)
            await asyncio.to_thread(database.kill)
            await asyncio.to_thread(replica.execute, "SELECT pg_promote()")
            await answers(outcome, 30)
            end.set()
            await asyncio.gather(*tasks)
            await check(clients, http, replica.dsn)
        print(f"promotion: {outcome}")
        lines_of_outages(pinyon)
        assert pinyon.stop() == 0


async def test_two_replicas_of_which_one_is_behind_and_the_other_dies_cost_no_answer(
    tmp_path: Path, database: Server
) -> None:
    clients, outcome, end = clients_of("wx"), Outcome(), asyncio.Event()
    with replica_of(database) as behind, replica_of(database) as mortal:
        more = {"read_preference": "replica", "replica_dsns": [behind.dsn, mortal.dsn]}
        writer = await asyncio.to_thread(serve, tmp_path / "writer", database.dsn)
        reader = await asyncio.to_thread(serve, tmp_path / "reader", database.dsn, **more)
        async with client_of(writer) as elsewhere, client_of(reader) as http:

            async def written_elsewhere(id: str) -> None:
                """A write that the reading process hears of by its number only."""
                row = [{"_id": id, "chunk_text": "apple"}]
                answer = await ask(elsewhere, outcome, "POST", UPSERT, row)
                http.headers["x-pinyon-min-lsn"] = answer.headers["x-pinecone-request-lsn"]

            async def searches(*wanted: str) -> None:
                for _ in range(6):
                    hits = (await ask(http, outcome, "POST", SEARCH, QUERY)).json()["result"]["hits"]
                    assert [hit["_id"] for hit in hits] == list(wanted)

            await written_elsewhere("a")
            await searches("a")
            await asyncio.to_thread(behind.execute, "SELECT pg_wal_replay_pause()")
            await written_elsewhere("b")
            await searches("a", "b")
            await asyncio.to_thread(mortal.kill)
            await written_elsewhere("c")
            await searches("a", "b", "c")
            await asyncio.to_thread(mortal.start)
            await asyncio.to_thread(behind.execute, "SELECT pg_wal_replay_resume()")
            await searches("a", "b", "c")
            del http.headers["x-pinyon-min-lsn"]
            tasks = [asyncio.create_task(work(client, http, outcome, end)) for client in clients]
            await answers(outcome, 30)
            end.set()
            await asyncio.gather(*tasks)
            await check(clients, http, database.dsn)
        print(f"two replicas: {outcome}")
        assert outcome.refused == 0
        for pinyon in (writer, reader):
            lines_of_outages(pinyon)
            assert pinyon.stop() == 0


async def test_a_server_that_hangs_is_given_up_and_used_again_when_it_goes_on(tmp_path: Path, database: Server) -> None:
    clients, outcome, end = clients_of("wx"), Outcome(), asyncio.Event()
    pinyon = await asyncio.to_thread(serve, tmp_path, database.dsn, statement_timeout_s=2.0)
    async with client_of(pinyon) as http:
        tasks = [asyncio.create_task(work(client, http, outcome, end)) for client in clients]
        await answers(outcome, 10)
        database.signal_all(signal.SIGSTOP)
        try:
            body = {"name": "other", "dimension": 2, "spec": {"serverless": {"cloud": "aws", "region": "us-east-1"}}}
            asked = [ask(http, outcome, "POST", SEARCH, QUERY), ask(http, outcome, "POST", UPSERT, ROW)]
            refused = await asyncio.gather(*asked, ask(http, outcome, "POST", "/indexes", body))
            assert {answer.status_code for answer in refused} == {503}
            end.set()
            await asyncio.gather(*tasks)
        finally:
            database.signal_all(signal.SIGCONT)
        async with asyncio.timeout(PATIENCE_S):  # a write waits for those that the server still works on
            while (await ask(http, outcome, "POST", UPSERT, ROW)).status_code == 503:
                await asyncio.sleep(0.1)
        await check(clients, http, database.dsn)
    print(f"a server that hangs: {outcome}")
    assert len(lines_of_outages(pinyon)) <= 3
    assert pinyon.stop() == 0


async def test_a_network_that_is_slow_loses_connections_or_falls_silent(tmp_path: Path, database: Server) -> None:
    clients, outcome, end = clients_of("wx"), Outcome(), asyncio.Event()
    async with network_to(database.folder / ".s.PGSQL.5432", random.Random(7)) as network:
        dsn = f"host=127.0.0.1 port={network.port} user=postgres dbname=postgres sslmode=disable"
        pinyon = await asyncio.to_thread(serve, tmp_path, dsn, statement_timeout_s=2.0)
        async with client_of(pinyon) as http:
            tasks = [asyncio.create_task(work(client, http, outcome, end)) for client in clients]
            network.delay_s = 0.01
            await answers(outcome, 10)
            network.cut_after = 150
            async with asyncio.timeout(PATIENCE_S):
                while network.cuts < 5:
                    await asyncio.sleep(0.1)
            network.cut_after = 0
            network.is_silent = True
            for path, body in ((SEARCH, QUERY), (UPSERT, ROW)):
                assert (await ask(http, outcome, "POST", path, body)).status_code == 503
            network.is_silent = False
            end.set()
            await asyncio.gather(*tasks)
            async with asyncio.timeout(PATIENCE_S):
                while (await ask(http, outcome, "POST", UPSERT, ROW)).status_code == 503:
                    await asyncio.sleep(0.1)
            await check(clients, http, database.dsn)
        print(f"a bad network: {network.cuts} cuts, {outcome}")
        lines_of_outages(pinyon)
        assert pinyon.stop() == 0


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """A disk of 100 MB."""
    folder = make_folder()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(folder)], capture_output=True)
    if mount.returncode:
        folder.rmdir()
        pytest.skip("only root may mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def fill(disk: Path) -> Path:
    """Fill a disk with a file, which is returned."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(65_536)):
            pass
    return filler


def move_to(disk: Path, folder: Path) -> None:
    """Move a folder of a database that is stopped to a disk."""
    shutil.move(folder, disk / folder.name)
    subprocess.run(["chown", "-R", UNPRIVILEGED, str(disk)], check=os.geteuid() == 0)
    folder.symlink_to(disk / folder.name)


async def test_a_full_disk_of_the_database_refuses_writes_and_answers_searches(tmp_path: Path) -> None:
    rows = [{"_id": f"r{n}", "chunk_text": "apple " * 500} for n in range(50)]
    outcome, stored = Outcome(), 0
    with small_disk() as disk, running(**SAFE) as database:
        await asyncio.to_thread(database.stop)
        move_to(disk, database.data / "base")  # the tables
        await asyncio.to_thread(database.start)
        pinyon = await asyncio.to_thread(serve, tmp_path, database.dsn)
        async with client_of(pinyon) as http:
            assert (await ask(http, outcome, "POST", UPSERT, ROW)).status_code == 201
            filler = fill(disk)
            for batch in range(200):
                own = [{**row, "_id": f"{row['_id']}-{batch}"} for row in rows]
                answer = await ask(http, outcome, "POST", UPSERT, own)
                if answer.status_code == 503:
                    break
                stored += len(own)
            assert answer.status_code == 503
            assert "no room" in answer.text
            assert (await ask(http, outcome, "POST", SEARCH, QUERY)).status_code == 200
            filler.unlink()
            stats = (await ask(http, outcome, "GET", "/describe_index_stats")).json()
            assert stats["namespaces"]["a"]["vectorCount"] == 1 + stored, "nothing half stored"
            assert (await ask(http, outcome, "POST", UPSERT, own)).status_code == 201
            await check([], http, database.dsn)
        print(f"a full disk: {outcome}")
        assert len(lines_of_outages(pinyon)) <= 2
        assert pinyon.stop() == 0
        await asyncio.to_thread(database.stop)


async def test_a_full_disk_of_the_log_stops_the_database_and_loses_no_acknowledged_write(tmp_path: Path) -> None:
    clients, outcome, end = clients_of("wx"), Outcome(), asyncio.Event()
    dice, batches, acknowledged, refused = random.Random(7), itertools.count(), set[str](), list[set[str]]()
    with small_disk() as disk, running(**SAFE, checkpoint_timeout="1h") as database:
        await asyncio.to_thread(database.stop)
        move_to(disk, database.data / "pg_wal")
        await asyncio.to_thread(database.start)
        pinyon = await asyncio.to_thread(serve, tmp_path, database.dsn)
        async with client_of(pinyon) as http:

            async def write() -> int:
                """Store some records that no compression makes smaller. Returns the status."""
                batch = next(batches)
                rows = [{"_id": f"{batch}-{n}", "chunk_text": "apple", "noise": noise(dice)} for n in range(20)]
                status = (await ask(http, outcome, "POST", "/records/namespaces/large/upsert", rows)).status_code
                ids = {row["_id"] for row in rows}
                if status == 503:
                    refused.append(ids)
                else:
                    acknowledged.update(ids)
                return status

            tasks = [asyncio.create_task(work(client, http, outcome, end)) for client in clients]
            await answers(outcome, 10)
            filler = fill(disk)
            async with asyncio.timeout(PATIENCE_S):
                while await write() != 503:
                    pass
                await asyncio.gather(*(write() for _ in range(5)))
            filler.unlink()
            async with asyncio.timeout(PATIENCE_S):
                status = 503
                while status == 503:
                    # It has ended, unless it could write the end of its recovery. An operator starts it again.
                    if database.process is None or database.process.poll() is not None:
                        await asyncio.to_thread(database.start)
                    status = await write()
            end.set()
            await asyncio.gather(*tasks)
            await check(clients, http, database.dsn)
            stored = await ids_in(http, "large")
            assert acknowledged <= stored
            assert all(ids <= stored or not ids & stored for ids in refused), "nothing half stored"
        print(f"a full disk of the log: {outcome}")
        assert b"PANIC" in (database.folder / "log").read_bytes()
        lines_of_outages(pinyon)
        assert pinyon.stop() == 0
        await asyncio.to_thread(database.stop)


def noise(dice: random.Random) -> str:
    """A field of 30,000 characters."""
    return dice.randbytes(15_000).hex()


async def ids_in(http: httpx.AsyncClient, namespace: str) -> set[str]:
    """The ids of all records of a namespace."""
    ids, token = set[str](), None
    while True:
        given = {"namespace": namespace, "limit": 100} | ({} if token is None else {"paginationToken": token})
        page = (await http.get("/vectors/list", params=given)).raise_for_status().json()
        ids |= {vector["id"] for vector in page["vectors"]}
        token = page.get("pagination", {}).get("next")
        if token is None:
            return ids
