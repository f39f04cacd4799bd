"""Bulk imports through the API: what arrives, what is refused, and what goes on after a stop."""

import asyncio
import io
import json
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pinyon.errors import EmbeddingMismatch, Unavailable
from pinyon.formats import files
from pinyon.formats.rows import Row
from pinyon.services.imports import importer, imports
from pinyon.services.imports.local_files import LocalFiles
from pinyon.storage.sqlite.data_plane import SqliteDataPlane

from tests.durability.test_power import serving

pytestmark = pytest.mark.anyio
SPEC = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
UNFINISHED = ("Pending", "InProgress")


class Server:
    """A server that may import from its folder. Requests go to the index of vectors, or of texts."""

    def __init__(self, http: httpx.AsyncClient, folder: Path) -> None:
        self.http, self.folder = http, folder
        self.host = ""

    async def start(self, uri: str | Path, **more: Any) -> str:
        answer = await self.http.post(f"{self.host}/bulk/imports", json={"uri": str(uri), **more})
        return str(answer.raise_for_status().json()["id"])

    async def describe(self, id: str) -> dict[str, Any]:
        await asyncio.sleep(0.01)  # nothing else would run between two requests in one process
        described: dict[str, Any] = (await self.http.get(f"{self.host}/bulk/imports/{id}")).raise_for_status().json()
        return described

    async def until(self, id: str, *wanted: str) -> dict[str, Any]:
        """The description of an import as soon as its status is one of these, or its error begins so."""
        while True:
            described = await self.describe(id)
            if described["status"] in wanted or any(each in described.get("error", "") for each in wanted):
                return described

    async def done(self, uri: str | Path, **more: Any) -> dict[str, Any]:
        """Import, and wait for the end."""
        return await self.until(await self.start(uri, **more), "Failed", "Completed", "Cancelled")

    async def counts(self) -> dict[str, int]:
        stats = (await self.http.get(f"{self.host}/describe_index_stats")).raise_for_status().json()
        return {name: each["vectorCount"] for name, each in stats["namespaces"].items()}

    async def fetch(self, id: str, namespace: str = "") -> dict[str, Any]:
        answer = await self.http.get(f"{self.host}/vectors/fetch", params={"ids": id, "namespace": namespace})
        vectors: dict[str, Any] = answer.raise_for_status().json()["vectors"]
        return vectors.get(id, {})


@asynccontextmanager
async def running(
    folder: Path, index: str = "vectors", allow: Sequence[str] = ("s3://",), **new: Any
) -> AsyncIterator[Server]:
    """A server whose data and files are in this folder. index: the one that requests are for; made if need be.

    allow: what it may import from beside its folder.
    """
    (folder / "import").mkdir(exist_ok=True)
    more = f"\n[import]\nallow = {json.dumps([str(folder / 'import'), *allow])}\n"
    async with serving(folder, folder / "data", more=more) as http:
        server = Server(http, folder / "import")
        if index != "quickstart":
            body = {"name": index, "dimension": 2, "metric": "cosine", "spec": SPEC, **new}
            assert (await http.post("/indexes", json=body)).status_code in (201, 409)
            server.host = (await http.get(f"/indexes/{index}")).json()["host"]
        yield server


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def vectors(first: int, last: int) -> str:
    return lines(*({"id": f"r{n}", "values": [n, 1.0], "metadata": {"n": n}} for n in range(first, last)))


async def test_a_folder_of_all_formats_becomes_namespaces(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = [Row(0, f"p{n}", np.float32([n / 7, 1 / 3]), None, {"n": n}) for n in range(2_500)]
    stream = io.BytesIO()
    writer = files.writer(stream, "parquet", sparse=False)
    writer.write(rows)
    writer.close()
    async with running(tmp_path) as server:
        (server.folder / "one").mkdir()
        (server.folder / "one" / "a.parquet").write_bytes(stream.getvalue())
        (server.folder / "one" / "b.csv").write_text('id,values,year\nc1,"[0.5, 0.25]",1999\n')
        (server.folder / "plain.jsonl").write_text(vectors(0, 3))
        done = await server.done(server.folder)
        assert (done["status"], done["recordsImported"], done["percentComplete"]) == ("Completed", 2_504, 100.0)
        assert "error" not in done and done["finishedAt"] >= done["createdAt"]
        assert await server.counts() == {"one": 2_501, "__default__": 3}
        fetched = await server.fetch("p1234", "one")
        assert np.float32(fetched["values"]).tobytes() == np.float32([1234 / 7, 1 / 3]).tobytes()
        assert fetched["metadata"] == {"n": 1234}
        assert (await server.fetch("c1", "one"))["metadata"] == {"year": 1999}


async def test_an_index_that_embeds_takes_text_and_vectors_that_rows_bring(tmp_path: Path) -> None:
    async with running(tmp_path, "quickstart") as server:
        brought = [1.0] + [0.0] * 63
        (server.folder / "t.jsonl").write_text(
            lines(
                {"_id": "a", "chunk_text": "hello", "n": 1},
                {"_id": "b", "chunk_text": "again", "values": brought},
                {"id": "c", "metadata": {"chunk_text": "world"}},
            )
        )
        done = await server.done(server.folder / "t.jsonl")
        assert (done["status"], done["recordsImported"]) == ("Completed", 3)
        record = {"_id": "direct", "chunk_text": "hello", "n": 1}
        await server.http.post("/records/namespaces/__default__/upsert", json=record)
        assert (await server.fetch("a"))["values"] == (await server.fetch("direct"))["values"]
        assert (await server.fetch("a"))["metadata"] == {"chunk_text": "hello", "n": 1}
        assert (await server.fetch("b"))["values"] == brought
        assert (await server.fetch("c"))["metadata"] == {"chunk_text": "world"}
        stats = (await server.http.get("/describe_index_stats")).json()["namespaces"]["__default__"]
        assert stats["foreignCount"] == 1, "a vector that was brought is known as such"


async def test_a_sparse_index_takes_sparse_values(tmp_path: Path) -> None:
    new = {"vector_type": "sparse", "metric": "dotproduct", "dimension": None}
    async with running(tmp_path, "words", **new) as server:
        row = {"id": "a", "sparse_values": {"indices": [7, 9], "values": [0.5, 1.0]}}
        (server.folder / "s.jsonl").write_text(lines(row, {"id": "b", "values": [1, 2]}))
        done = await server.done(server.folder / "s.jsonl", errorMode={"onError": "continue"})
        assert (done["status"], done["recordsImported"]) == ("Completed", 1)
        assert (await server.fetch("a"))["sparseValues"] == {"indices": [7, 9], "values": [0.5, 1.0]}
        assert "expected beside the id: 'sparse_values'" in done["error"]


WRONG = '{"id": "bad", "values": [1, 2, 3]}\n'


async def test_a_wrong_row_stops_an_import_and_is_named_unless_it_is_to_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        (server.folder / "w.jsonl").write_text(vectors(0, 1_500) + WRONG + "no\n" + vectors(1_500, 1_600))
        done = await server.done(server.folder / "w.jsonl")
        assert (done["status"], done["recordsImported"]) == ("Failed", 1_000), "whole batches only"
        assert "w.jsonl, row 1501: Vector dimension 3 does not match the dimension of the index 2" in done["error"]
        assert await server.counts() == {"__default__": 1_000}
        done = await server.done(server.folder / "w.jsonl", errorMode={"onError": "continue"})
        assert (done["status"], done["recordsImported"]) == ("Completed", 1_600)
        assert done["error"].startswith("2 rows were left out; the first: w.jsonl, row 1501: ")
        assert await server.counts() == {"__default__": 1_600}


async def test_wrong_columns_are_listed_with_the_expected_ones(tmp_path: Path) -> None:
    async with running(tmp_path, "quickstart") as server:
        (server.folder / "a.csv").write_text("id,body\na,b\n")
        done = await server.done(server.folder / "a.csv", errorMode={"onError": "continue"})
        assert (done["status"], done["error"]) == (
            "Failed",
            "a.csv: the columns are: 'id', 'body'; expected beside the id: 'chunk_text' or 'values'",
        )


async def test_texts_that_are_too_long_for_the_model_are_named(tmp_path: Path) -> None:
    async with running(tmp_path, "quickstart") as server:
        embed = {"model": "pinyon-hash-embed", "field_map": {"text": "t"}, "write_parameters": {"truncate": "NONE"}}
        body = {"name": "whole", "cloud": "aws", "region": "us-east-1", "embed": embed}
        server.host = (await server.http.post("/indexes/create-for-model", json=body)).json()["host"]
        rows = [{"_id": f"r{n}", "t": "word " * (300 if n in (2, 5) else 3)} for n in range(8)]
        (server.folder / "t.jsonl").write_text(lines(*rows))
        done = await server.done(server.folder / "t.jsonl", errorMode={"onError": "continue"})
        assert (done["status"], done["recordsImported"]) == ("Completed", 6)
        told = "Field 't' in record 'r2' has 300 tokens, which exceeds the maximum of 256 tokens"
        assert done["error"].startswith(f"2 rows were left out; the first: t.jsonl, row 3: {told}")
        done = await server.done(server.folder / "t.jsonl")
        assert (done["status"], done["recordsImported"]) == ("Failed", 0)
        assert told in done["error"]


async def test_texts_are_embedded_again_if_the_index_was_reembedded_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert, calls = SqliteDataPlane.upsert, []

    async def mismatch_first(engine: SqliteDataPlane, *how: Any, **more: Any) -> int:
        calls.append(how)
        if len(calls) == 1:
            raise EmbeddingMismatch("This index was embedded by another model")
        return await upsert(engine, *how, **more)

    async with running(tmp_path, "quickstart") as server:
        (server.folder / "t.jsonl").write_text(lines({"_id": "a", "chunk_text": "hello"}))
        monkeypatch.setattr(SqliteDataPlane, "upsert", mismatch_first)
        done = await server.done(server.folder / "t.jsonl")
        assert (done["status"], done["recordsImported"], len(calls)) == ("Completed", 1, 2)
        assert (await server.fetch("a"))["metadata"] == {"chunk_text": "hello"}


async def test_texts_that_are_empty_are_named(tmp_path: Path) -> None:
    async with running(tmp_path, "quickstart") as server:
        (server.folder / "t.jsonl").write_text(lines({"_id": "a", "chunk_text": " "}, {"_id": "b", "chunk_text": "x"}))
        done = await server.done(server.folder / "t.jsonl", errorMode={"onError": "continue"})
        assert (done["status"], done["recordsImported"]) == ("Completed", 1)
        assert "t.jsonl, row 1: Missing or invalid field 'chunk_text' in record 'a'" in done["error"]


async def test_bad_requests_are_refused_in_words(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        for body, status, words in (
            ({"uri": "/etc"}, 403, "[import]"),
            ({"uri": f"{server.folder}/../data"}, 403, "[import]"),
            ({"uri": "x"}, 400, "A path has to be absolute"),
            ({"uri": ""}, 400, "1 to 1500 are allowed"),
            ({}, 400, "uri"),
            ({"uri": str(server.folder), "errorMode": {"onError": "ask"}}, 400, "must be abort or continue"),
        ):
            answer = await server.http.post(f"{server.host}/bulk/imports", json=body)
            assert answer.status_code == status, body
            assert words in answer.json()["message"]
        for method in ("GET", "DELETE"):
            answer = await server.http.request(method, f"{server.host}/bulk/imports/nope")
            assert (answer.status_code, answer.json()["code"]) == (404, 5)
        done = await server.done(server.folder / "nothing.csv")
        assert (done["status"], done["recordsImported"]) == ("Failed", 0)
        assert "nothing.csv cannot be read: No such file" in done["error"]


class Gate:
    """Holds an import where it opens a file, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self._open = threading.Event()
        original = LocalFiles.open

        def wait(source: LocalFiles, file: Any) -> Any:
            if file.name == name:
                assert self._open.wait(60)
            return original(source, file)

        monkeypatch.setattr(LocalFiles, "open", wait)

    def open(self) -> None:
        self._open.set()


async def test_imports_into_one_index_take_turns_and_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "a.jsonl")
    monkeypatch.setattr(importer, "ABANDONED_S", 0)
    async with running(tmp_path) as server:
        for name in ("a", "b", "c"):
            (server.folder / f"{name}.jsonl").write_text(lines({"id": name, "values": [1, 2]}))
        ids = [await server.start(server.folder / f"{name}.jsonl") for name in ("a", "b", "c")]
        await server.until(ids[0], "InProgress")
        waiting = await server.describe(ids[1])
        assert (waiting["status"], waiting["error"]) == ("Pending", "it waits for another import into this index")
        assert (await server.http.delete(f"{server.host}/bulk/imports/{ids[1]}")).json() == {}
        assert (await server.describe(ids[1]))["status"] == "Cancelled"
        assert (await server.http.delete(f"{server.host}/bulk/imports/{ids[0]}")).json() == {}
        assert (await server.describe(ids[0]))["status"] == "Cancelled"
        assert (await server.until(ids[2], "Completed"))["recordsImported"] == 1
        assert (await server.http.delete(f"{server.host}/bulk/imports/{ids[2]}")).json() == {}
        assert (await server.describe(ids[2]))["status"] == "Completed", "what has ended stays as it is"
        gate.open()
        assert await server.counts() == {"__default__": 1}
        listed = (await server.http.get(f"{server.host}/bulk/imports", params={"limit": 2})).json()
        assert [each["id"] for each in listed["data"]] == ids[:2]
        more = {"limit": 2, "paginationToken": listed["pagination"]["next"]}
        listed = (await server.http.get(f"{server.host}/bulk/imports", params=more)).json()
        assert ([each["id"] for each in listed["data"]], "pagination" in listed) == (ids[2:], False)
        monkeypatch.setattr(imports, "PAGE", 1)  # the console shows all of them, however many are on a page
        page = (await server.http.get(f"{server.host}/console/import?index=vectors")).text
        places = [page.index(f"{name}.jsonl") for name in ("c", "b", "a")]
        assert places == sorted(places)
        page = (await server.http.get(f"{server.host}/console/overview")).text
        assert all(f"{name}.jsonl" in page for name in ("a", "b", "c"))


async def test_an_import_goes_on_after_a_restart_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "ABANDONED_S", 0)
    with monkeypatch.context() as patched:
        gate = Gate(patched, "b.jsonl")
        async with running(tmp_path) as server:
            (server.folder / "a.jsonl").write_text(vectors(0, 1_200) + "no\n")
            (server.folder / "b.jsonl").write_text(vectors(5_000, 5_010))
            id = await server.start(server.folder, errorMode={"onError": "continue"})
            while (await server.describe(id))["recordsImported"] < 1_200:
                pass
            await server.http.post(f"{server.host}/vectors/delete", json={"ids": ["r7"]})
        gate.open()
    async with running(tmp_path) as server:
        done = await server.until(id, "Completed")
        assert (done["recordsImported"], done["percentComplete"]) == (1_210, 100.0)
        assert done["error"].startswith("1 row was left out; the first: a.jsonl, row 1201: ")
        assert await server.counts() == {"__default__": 1_209}
        assert await server.fetch("r7") == {}, "what was imported before is not imported again"


async def test_a_file_that_has_changed_since_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = threading.Event()
    upsert = SqliteDataPlane.upsert
    written = []

    async def once(engine: SqliteDataPlane, *how: Any, **more: Any) -> int:
        if written:
            blocked.set()
            raise Unavailable("The disk is full", 60)
        written.append(how)
        return await upsert(engine, *how, **more)

    with monkeypatch.context() as patched:
        patched.setattr(SqliteDataPlane, "upsert", once)
        async with running(tmp_path) as server:
            (server.folder / "a.jsonl").write_text(vectors(0, 3_000))
            id = await server.start(server.folder)
            described = await server.until(id, "paused")
            assert (described["status"], described["recordsImported"]) == ("InProgress", 1_000)
    (tmp_path / "import" / "a.jsonl").write_text(vectors(0, 2_000))
    async with running(tmp_path) as server:
        done = await server.until(id, "Failed")
        assert "files must not change meanwhile" in done["error"]
        assert await server.counts() == {"__default__": 1_000}


async def test_a_full_disk_pauses_an_import_which_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert, full = SqliteDataPlane.upsert, [True]

    async def refuse(engine: SqliteDataPlane, *how: Any, **more: Any) -> int:
        if full:
            raise Unavailable("The disk is full", 0)
        return await upsert(engine, *how, **more)

    async with running(tmp_path) as server:
        (server.folder / "a.jsonl").write_text(vectors(0, 3))
        monkeypatch.setattr(SqliteDataPlane, "upsert", refuse)
        id = await server.start(server.folder / "a.jsonl")
        described = await server.until(id, "paused")
        assert described["error"] == "paused, and goes on by itself: The disk is full"
        assert described["status"] == "InProgress"
        full.clear()
        done = await server.until(id, "Completed")
        assert (done["recordsImported"], done.get("error")) == (3, None)


async def test_an_import_ends_with_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "b.jsonl")
    async with running(tmp_path) as server:
        (server.folder / "a.jsonl").write_text(vectors(0, 3))
        (server.folder / "b.jsonl").write_text(vectors(3, 6))
        id = await server.start(server.folder)
        while not await server.counts():
            await asyncio.sleep(0.01)
        assert (await server.http.delete("/indexes/vectors")).status_code == 202
        gate.open()
        body = {"name": "vectors", "dimension": 2, "metric": "cosine", "spec": SPEC}
        server.host = (await server.http.post("/indexes", json=body)).json()["host"]
        assert (await server.http.get(f"{server.host}/bulk/imports")).json() == {"data": []}
        assert (await server.http.get(f"{server.host}/bulk/imports/{id}")).status_code == 404
        assert (await server.done(server.folder))["recordsImported"] == 6


async def test_without_its_libraries_an_object_store_waits_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    async with running(tmp_path) as server:
        (server.folder / "a.jsonl").write_text(vectors(0, 3))
        id = await server.start("s3://bucket/folder", errorMode={"onError": "continue"}, integrationId="x")
        waiting = await server.until(id, "pip install 'pinyon[cloud]'")
        assert waiting["status"] == "Pending"
        assert (await server.done(server.folder))["status"] == "Completed", "the others do not wait for it"
    async with running(tmp_path) as server:
        assert (await server.until(id, "pip install 'pinyon[cloud]'"))["status"] == "Pending", "after a restart too"
        assert id in [each["id"] for each in (await server.http.get(f"{server.host}/bulk/imports")).json()["data"]]
        await server.http.delete(f"{server.host}/bulk/imports/{id}")
        assert (await server.describe(id))["status"] == "Cancelled"


async def test_searches_are_answered_while_an_import_runs(tmp_path: Path) -> None:
    async with running(tmp_path, "quickstart") as server:
        texts = [{"_id": f"t{n}", "chunk_text": f"text number {n}"} for n in range(600)]
        (server.folder / "t.jsonl").write_text(lines(*texts))
        id = await server.start(server.folder / "t.jsonl")
        unfinished = True
        while unfinished:
            body = {"query": {"inputs": {"text": "number"}, "top_k": 3}}
            (await server.http.post("/records/namespaces/__default__/search", json=body)).raise_for_status()
            unfinished = (await server.describe(id))["status"] in UNFINISHED
        assert (await server.describe(id))["recordsImported"] == 600
