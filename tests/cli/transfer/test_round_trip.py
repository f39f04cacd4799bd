"""What was exported and imported again is the same: ids, fields, vectors to the last bit, sparse values, namespaces."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pinyon.cli.client.api import Api
from pinyon.cli.client.connection import in_this_process
from pinyon.cli.transfer.exports.backup_reader import BackupReader
from pinyon.cli.transfer.exports.job import ExportJob, VectorColumns
from pinyon.cli.transfer.exports.state import Plan
from pinyon.cli.transfer.imports.columns import columns_of
from pinyon.cli.transfer.imports.files import import_files
from pinyon.cli.transfer.imports.job import ImportJob
from pinyon.cli.transfer.imports.requests import Target
from pinyon.cli.transfer.imports.row_sender import RowSender
from pinyon.cli.transfer.imports.state import ImportState
from pinyon.settings_loader import load

from tests.running import config

pytest.importorskip("pyarrow", reason="needs pyarrow, the extra parquet")
SERVERLESS = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
BODIES: dict[str, dict[str, Any]] = {
    "dense": {"dimension": 3, "metric": "dotproduct", "spec": SERVERLESS},
    "sparse": {"vector_type": "sparse", "metric": "dotproduct", "spec": SERVERLESS},
}
EMBED = {"model": "pinyon-hash-embed", "field_map": {"text": "text"}, "dimension": 64}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def api(loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Services with an index of each kind, and one to import into: its name ends in -copy."""
    folder = tmp_path_factory.mktemp("round trip")
    service = in_this_process(load(config(folder), {}, {"data_dir": str(folder / "data")}))
    api = loop.run(service.__aenter__())

    async def make() -> None:
        for end in ("", "-copy"):
            for name, body in BODIES.items():
                await api.ask("POST", "/indexes", {"name": name + end, **body})
            body = {"name": f"text{end}", "cloud": "aws", "region": "us-east-1", "embed": EMBED}
            await api.ask("POST", "/indexes/create-for-model", body)

    loop.run(make())
    yield api
    loop.run(service.__aexit__(None, None, None))


ASCII = st.characters(min_codepoint=1, max_codepoint=127)
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
FIELDS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name[:1] != "$" and name != "_score"),
    st.one_of(
        st.text(max_size=20),
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(st.text(max_size=5), max_size=3),
    ),
    max_size=4,
)
SPARSE = st.dictionaries(st.integers(0, 2**32 - 1), NUMBERS.filter(bool), min_size=1, max_size=4).map(
    lambda terms: {"indices": list(terms), "values": list(terms.values())}
)
NAMESPACES = st.sampled_from(["__default__", "n", "a/b", "..", ".hidden", "%2F", " ", "CON", 'a"b\\\n'])


def vectors(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """A record of an index of this kind, with its namespace."""
    optional: dict[str, Any] = {"sparseValues": SPARSE} if kind == "dense" else {}
    needed: dict[str, Any] = {"namespace": NAMESPACES, "id": st.text(ASCII, min_size=1, max_size=9), "metadata": FIELDS}
    if kind == "sparse":
        needed["sparseValues"] = SPARSE
    else:
        size = 3 if kind == "dense" else 64
        needed["values"] = st.lists(NUMBERS, min_size=size, max_size=size).filter(any)
    return st.fixed_dictionaries(needed, optional=optional)


async def stored(api: Api, index: str) -> dict[str, dict[str, bytes]]:
    """Every record as the API writes it, by namespace and id."""
    _, at = await api.index(index)
    namespaces = (await api.ask("GET", "/describe_index_stats", at=at))["namespaces"]
    records: dict[str, dict[str, bytes]] = {}
    for name, told in namespaces.items():
        if told["vectorCount"]:
            body = msgspec.json.encode({"namespace": name, "filter": {"no such": {"$exists": False}}, "limit": 100})
            answer = await api.send("POST", "/vectors/fetch_by_metadata", body, at=at)
            raw = msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw])["vectors"]
            each = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
            records[name] = {id: bytes(record) for id, record in each.items()}
    return records


async def emptied(api: Api, index: str) -> None:
    _, at = await api.index(index)
    for name in (await api.ask("GET", "/describe_index_stats", at=at))["namespaces"]:
        await api.ask("POST", "/vectors/delete", {"namespace": name, "deleteAll": True}, at)


async def moved(api: Api, index: str, format: Any, part: int, out: Path) -> None:
    """Export an index, and import the files into its copy."""
    plan = Plan(index, None, None, format, vectors=True, single=False, part=part)
    columns = VectorColumns(values=index != "sparse", sparse=index != "text")
    await ExportJob(BackupReader(api), plan, out, columns, lambda *_: None).run(resume=False)
    _, at = await api.index(f"{index}-copy")
    target = Target(index, "text" if index == "text" else None, index == "sparse", reembed=False)
    inputs = columns_of(import_files([str(out)], None, None), [], [], None, target)
    refused: list[Any] = []
    job = ImportJob(RowSender(api, at), target, ImportState(), refused.append, lambda _: None)
    await job.run(inputs)
    assert refused == []


def round_trip(loop: asyncio.Runner, api: Api, kind: str, data: st.DataObject) -> None:
    """Store drawn records in an index of this kind, and compare its copy with it."""
    records = data.draw(st.lists(vectors(kind), min_size=1, max_size=6))
    format, part = data.draw(st.sampled_from(["jsonl", "parquet"])), data.draw(st.integers(1, 3))

    async def check() -> None:
        await emptied(api, kind)
        await emptied(api, f"{kind}-copy")
        _, at = await api.index(kind)
        for record in records:
            vector = {name: value for name, value in record.items() if name != "namespace"}
            await api.ask("POST", "/vectors/upsert", {"namespace": record["namespace"], "vectors": [vector]}, at)
        before = await stored(api, kind)
        with tempfile.TemporaryDirectory() as folder:
            await moved(api, kind, format, part, Path(folder) / "out")
        assert await stored(api, f"{kind}-copy") == before
        assert sum(map(len, before.values())) == len({(each["namespace"], each["id"]) for each in records})

    loop.run(check())


KINDS = pytest.mark.parametrize("kind", ["dense", "sparse", "text"])


@KINDS
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_exported_index_that_is_imported_again_is_the_same(
    loop: asyncio.Runner, api: Api, kind: str, data: st.DataObject
) -> None:
    round_trip(loop, api, kind, data)


@pytest.mark.slow
@KINDS
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_hundreds_of_exported_indexes_that_are_imported_again_are_the_same(
    loop: asyncio.Runner, api: Api, kind: str, data: st.DataObject
) -> None:
    round_trip(loop, api, kind, data)


def test_every_float_that_32_bits_hold_is_the_same_afterwards(loop: asyncio.Runner, api: Api, tmp_path: Path) -> None:
    """Of every exponent, and next to each power of two, where the shortest text is hardest to get right."""
    bits = np.concatenate([(np.arange(255, dtype=np.uint32) << 23) + offset for offset in (0, 1, 2**23 - 1, 0x2AAAAA)])
    numbers = bits.astype(np.uint32).view(np.float32)
    rows = np.concatenate([numbers, -numbers]).reshape(-1, 3)

    async def check(format: str) -> None:
        await emptied(api, "dense")
        await emptied(api, "dense-copy")
        _, at = await api.index("dense")
        sent = [{"id": str(place), "values": row.tolist()} for place, row in enumerate(rows)]
        await api.ask("POST", "/vectors/upsert", {"vectors": sent}, at)
        await moved(api, "dense", format, 1_000, tmp_path / format)
        _, at = await api.index("dense-copy")
        ids = "&".join(f"ids={place}" for place in range(len(rows)))
        fetched = (await api.ask("GET", f"/vectors/fetch?{ids}", at=at))["vectors"]
        read = np.array([fetched[str(place)]["values"] for place in range(len(rows))], np.float32)
        assert read.tobytes() == rows.tobytes()

    for format in ("jsonl", "parquet"):
        loop.run(check(format))
