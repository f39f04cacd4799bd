"""Searches and writes beside an import: they wait for no more than they would beside an upsert.

What they wait for is counted, in steps of the model and in writes, because a clock would judge the machine.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
from pinyon.domain import IndexSpec, Record
from pinyon.inference.backend import Embeddings
from pinyon.inference.backends.embedding.hash_backend import HashEncoder
from pinyon.inference.model_executor import ModelExecutor, Work
from pinyon.services.data_plane import sizes
from pinyon.services.imports.row_checks import RowBatch, RowChecks
from pinyon.services.inference.text_batches import MOST_TEXTS
from pinyon.settings import LimitSettings
from pinyon.storage.sqlite.connection.writer import Writer
from pinyon.storage.sqlite.records import writing

from tests.services.imports.test_imports import Server, lines, running, vectors

pytestmark = pytest.mark.anyio
QUESTION = "which question is this"
GIVEN_UP_S = 60
SEARCHES = 5


class Held:
    """Holds a thread where it calls something, until it is let go."""

    def __init__(self) -> None:
        self._arrived, self._go = threading.Semaphore(0), threading.Semaphore(0)
        self._open = False

    def here(self) -> None:
        """Wait until it is let go. The thread that is held calls it."""
        self._arrived.release()
        if not self._open:
            assert self._go.acquire(timeout=GIVEN_UP_S)

    async def arrived(self) -> None:
        assert await asyncio.to_thread(self._arrived.acquire, timeout=GIVEN_UP_S)

    def go(self) -> None:
        self._go.release()

    def open(self) -> None:
        """Hold nothing any more, and let whoever waits for an arrival go on."""
        self._open = True
        self._go.release()
        self._arrived.release()


class Steps:
    """The calls of the model, in their order. Those for passages are held. queries: notes that one waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[list[str]] = []
        self.held, self.queries = Held(), asyncio.Queue[None]()
        encode, submit = HashEncoder.encode, ModelExecutor.submit

        def noted_encode(encoder: HashEncoder, texts: Sequence[str], max_tokens: int) -> Embeddings:
            self.calls.append(list(texts))
            if not any(QUESTION in text for text in texts):
                self.held.here()
            return encode(encoder, texts, max_tokens)

        def noted_submit(executor: ModelExecutor, work: Work) -> None:
            submit(executor, work)
            if work.priority == "query":
                self.queries.put_nowait(None)

        monkeypatch.setattr(HashEncoder, "encode", noted_encode)
        monkeypatch.setattr(ModelExecutor, "submit", noted_submit)


async def search(server: Server, text: str) -> httpx.Response:
    body = {"query": {"inputs": {"text": text}, "top_k": 3}}
    return await server.http.post("/records/namespaces/__default__/search", json=body)


async def an_import(server: Server) -> None:
    rows = ({"_id": f"t{n}", "chunk_text": f"text number {n}"} for n in range(600))
    (server.folder / "t.jsonl").write_text(lines(*rows))
    assert (await server.done(server.folder / "t.jsonl"))["recordsImported"] == 600


async def an_upsert(server: Server) -> None:
    """Upserts of as many texts as one may have, one after another."""
    for first in range(0, 576, 96):
        rows = ({"_id": f"t{n}", "chunk_text": f"text number {n}"} for n in range(first, first + 96))
        answer = await server.http.post("/records/namespaces/__default__/upsert", content=lines(*rows))
        answer.raise_for_status()


@pytest.mark.parametrize("work", [an_import, an_upsert])
async def test_the_question_of_a_search_is_embedded_in_the_next_step_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Server], Awaitable[None]]
) -> None:
    async with running(tmp_path, "quickstart") as server:
        (await search(server, "warm up")).raise_for_status()
        steps = Steps(monkeypatch)
        working, arrived = asyncio.ensure_future(work(server)), asyncio.create_task(steps.held.arrived())
        try:
            for number in range(SEARCHES):
                await arrived
                under_way, question = len(steps.calls), f"{QUESTION} {number}"
                searching = asyncio.create_task(search(server, question))
                await steps.queries.get()
                arrived = asyncio.create_task(steps.held.arrived())
                steps.held.go()
                await asyncio.wait([searching, arrived], return_when=asyncio.FIRST_COMPLETED)
                assert question in steps.calls[under_way][0], "it waits for the step that was under way, and no other"
                (await searching).raise_for_status()
        finally:
            steps.held.open()
            await arrived
        await working
        assert max(map(len, steps.calls)) <= MOST_TEXTS, "a search waits for no longer step"


class Writes:
    """The writes of records, in their order. The first one is held while its transaction is open.

    upserts: notes that one waits for the writer. read: counts the batches that imports have read.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[list[Record]] = []
        self.held, self.upserts = Held(), asyncio.Queue[None]()
        self.read = threading.Semaphore(0)
        upsert, submit, batches = writing.upsert, Writer.submit, RowChecks.batches

        def noted_upsert(
            connection: apsw.Connection, spec: IndexSpec, namespace: str, records: Sequence[Record], foreign: bool
        ) -> int:
            written = upsert(connection, spec, namespace, records, foreign=foreign)
            self.done.append(list(records))
            if len(self.done) == 1:
                self.held.here()
            return written

        def noted_submit(writer: Writer, function: Callable[..., Any], bare: bool = False) -> Any:
            future = submit(writer, function, bare)
            if function.__qualname__.startswith("SqliteDataPlane.upsert"):
                self.upserts.put_nowait(None)
            return future

        def noted_batches(checks: RowChecks, *of: Any) -> Iterator[RowBatch]:
            for batch in batches(checks, *of):
                self.read.release()
                yield batch

        monkeypatch.setattr(RowChecks, "batches", noted_batches)
        monkeypatch.setattr(writing, "upsert", noted_upsert)
        monkeypatch.setattr(Writer, "submit", noted_submit)


async def test_a_search_waits_for_no_write_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as server:
        (server.folder / "a.jsonl").write_text(vectors(0, 3_000))
        writes = Writes(monkeypatch)
        importing = asyncio.create_task(server.done(server.folder / "a.jsonl"))
        await writes.held.arrived()
        for _ in range(3):
            answer = await server.http.post(f"{server.host}/query", json={"vector": [1, 2], "topK": 3})
            assert answer.raise_for_status().json()["matches"] == [], "the write is still under way"
        writes.held.go()
        assert (await importing)["recordsImported"] == 3_000


async def test_an_upsert_waits_for_one_write_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as server:
        (server.folder / "a.jsonl").write_text(vectors(0, 3_000))
        writes = Writes(monkeypatch)
        importing = asyncio.create_task(server.done(server.folder / "a.jsonl"))
        await writes.held.arrived()
        await writes.upserts.get()  # that of the import
        for _ in range(3):  # all that it has to write
            assert await asyncio.to_thread(writes.read.acquire, timeout=GIVEN_UP_S)
        body = {"vectors": [{"id": "mine", "values": [1, 2]}]}
        upserting = asyncio.create_task(server.http.post(f"{server.host}/vectors/upsert", json=body))
        await writes.upserts.get()
        writes.held.go()
        (await upserting).raise_for_status()
        assert (await importing)["recordsImported"] == 3_000
        assert [records[0].id for records in writes.done] == ["r0", "mine", "r1000", "r2000"]


async def test_a_write_of_an_import_is_no_larger_than_an_upsert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = LimitSettings()
    async with running(tmp_path) as server:
        large = {"note": "x" * (limits.metadata_bytes - 20)}
        rows = [{"id": f"r{n}", "values": [n, 1.0], "metadata": large} for n in range(120)]
        (server.folder / "a.jsonl").write_text(lines(*rows))
        writes = Writes(monkeypatch)
        writes.held.go()
        assert (await server.done(server.folder / "a.jsonl"))["recordsImported"] == 120
    assert [record.id for records in writes.done for record in records] == [row["id"] for row in rows]
    half = limits.upsert_bytes // 2
    assert all(half < sizes.of_records(records) <= limits.upsert_bytes for records in writes.done[:-1])
    assert len(writes.done) == 3
