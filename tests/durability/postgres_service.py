"""`pinyon serve` on a PostgreSQL server of its own, and clients that go on through its faults."""

import asyncio
import random
import time
from pathlib import Path

import httpx

from tests.durability.workload import Client, stored
from tests.postgres.consistency import problems_in
from tests.running import RunningServer, config, free_ports

INDEX, SCHEMA = "quickstart", "pinyon"
PATIENCE_S = 120.0
"""Something hangs that takes longer."""
SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


def serve(folder: Path, dsn: str, **settings: object) -> RunningServer:
    """Pinyon in a process of its own. settings: of [storage]."""
    lines = [f"{name} = {value!r}".replace("'", '"') for name, value in settings.items()]
    more = "\n".join(["[storage]", 'engine = "postgres"', f'dsn = "{dsn}"', *lines])
    return RunningServer(config(folder, more=more + "\n"), folder / "data", "--index-ports", free_ports(10))


def clients_of(names: str) -> list[Client]:
    return [Client(name, random.Random(name)) for name in names]


class Outcome:
    """What clients saw. longest_s: for how long one waited for an answer."""

    def __init__(self) -> None:
        self.answered, self.refused, self.longest_s = 0, 0, 0.0

    def __repr__(self) -> str:
        return f"{self.answered} answered, {self.refused} refused, {self.longest_s:.1f} s the longest"


async def ask(http: httpx.AsyncClient, outcome: Outcome, method: str, path: str, body: object = None) -> httpx.Response:
    """A request. Fails for any answer but success, or a 503 that says when to try again."""
    began = time.monotonic()
    answer = await http.request(method, path, json=body)
    outcome.longest_s = max(outcome.longest_s, time.monotonic() - began)
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) >= 1
        outcome.refused += 1
    else:
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        outcome.answered += 1
    return answer


async def work(client: Client, http: httpx.AsyncClient, outcome: Outcome, until: asyncio.Event) -> None:
    """Operations of one client until the event. After a refusal it first looks whether the write is stored."""
    while not until.is_set():
        operation = client.begin()
        answer = await ask(http, outcome, operation.method, operation.path, operation.body)
        if answer.status_code == 503:
            if not await compared(client, http, until):
                return
        else:
            client.acknowledged()


async def compared(client: Client, http: httpx.AsyncClient, until: asyncio.Event) -> bool:
    """Whether what is stored could be compared with what the client knows before the event came."""
    while not until.is_set():
        try:
            if client.flying is not None and client.flying.path.startswith("/indexes"):
                # Indexes are shown from a copy, which may be older until this process has changed one itself.
                tags = {"tags": {"n": str(client.dice.random())}}
                (await http.patch(f"/indexes/{INDEX}", json=tags)).raise_for_status()
            client.compare(await stored(http, client))
            return True
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == 503, error.response.text
            await asyncio.sleep(0.05)
    return False


async def check(clients: list[Client], http: httpx.AsyncClient, dsn: str) -> None:
    """Wait until the service answers. Compare what clients know with what is stored, and the tables with each other."""
    async with asyncio.timeout(PATIENCE_S):
        for client in clients:
            assert await compared(client, http, asyncio.Event())
    assert await asyncio.to_thread(problems_in, dsn, SCHEMA, INDEX) == []


async def answers(outcome: Outcome, number: int) -> None:
    """Wait until clients got so many more answers."""
    wanted = outcome.answered + number
    async with asyncio.timeout(PATIENCE_S):
        while outcome.answered < wanted:
            await asyncio.sleep(0.01)


def lines_of_outages(server: RunningServer) -> list[str]:
    """What the log says of the database, from warnings on. Fails if there is a trace."""
    assert "Traceback" not in server.text, server.text
    return [line for line in server.output if " pinyon.storage " in line and (" WARNING " in line or " ERROR " in line)]
