"""`pinyon copy` between two servers."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pinyon.cli.client import api
from pinyon.cli.transfer.copies.job import CopyJob

from tests.cli.transfer.commands import Pinyon
from tests.cli.transfer.proxy import proxy
from tests.running import GIVEN_UP_S, PROJECT, RunningServer, config, environment, free_ports

PLACE = {"cloud": "aws", "region": "us-east-1"}
MANY = [("", 250), ("a/b", 120), ("empty", 0), ("one", 1)]
"""Namespaces of the source, and how many records they have."""

Target = Callable[..., str]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningServer]]:
    """Two servers. The first has the indexes `vectors` and `texts` with records."""
    folders = [tmp_path_factory.mktemp("copy") for _ in range(2)]
    running = [RunningServer(config(folder), folder / "data", "--index-ports", free_ports(6)) for folder in folders]
    yield running
    for server in running:
        assert server.stop() == 0, server.text


def made(server: RunningServer, name: str, embed: Any = None, **spec: Any) -> str:
    """Make an index. Returns its address."""
    with server.client() as http:
        if embed is not None:
            answer = http.post("/indexes/create-for-model", json={"name": name, **PLACE, "embed": embed})
        else:
            answer = http.post("/indexes", json={"name": name, "spec": {"serverless": PLACE}, **spec})
        return str(answer.raise_for_status().json()["host"])


def upserted(host: str, namespace: str, vectors: list[dict[str, Any]]) -> None:
    for start in range(0, len(vectors), 1_000):
        body = {"namespace": namespace, "vectors": vectors[start : start + 1_000]}
        httpx.post(f"{host}/vectors/upsert", json=body, timeout=GIVEN_UP_S).raise_for_status()


def vector(n: int, name: str = "r") -> dict[str, Any]:
    made: dict[str, Any] = {"id": f"{name}/{n} &#{n}", "values": [1.0, n / 7, -n / 3, 0.1]}
    if n % 3:
        made["sparseValues"] = {"indices": [n, 4_000_000_000], "values": [0.3, 1e-7 * n]}
    if n % 4:
        made["metadata"] = {"n": n, "text": f"Übung {n} 東京", "list": ["a", str(n)], "yes": n % 2 == 0, "x": n / 9}
    return made


def everything(host: str) -> dict[str, dict[str, Any]]:
    """All records of an index, by namespace and id."""
    stats = httpx.post(f"{host}/describe_index_stats", timeout=GIVEN_UP_S).json()
    records: dict[str, dict[str, Any]] = {}
    for name in stats["namespaces"]:
        body = {"namespace": name, "filter": {"no such field": {"$exists": False}}, "limit": 10_000}
        answer = httpx.post(f"{host}/vectors/fetch_by_metadata", json=body, timeout=GIVEN_UP_S)
        records[name] = answer.raise_for_status().json()["vectors"]
    return {name: found for name, found in records.items() if found}


@pytest.fixture(scope="module")
def source(servers: list[RunningServer]) -> str:
    """An index with dense and sparse vectors."""
    host = made(servers[0], "vectors", dimension=4, metric="dotproduct")
    for name, count in MANY:
        if count:
            upserted(host, name, [vector(n) for n in range(count)])
        else:
            httpx.post(f"{host}/namespaces", json={"name": name}, timeout=GIVEN_UP_S).raise_for_status()
    return host


@pytest.fixture
def target(servers: list[RunningServer]) -> Iterator[Target]:
    """Makes an index on the second server, which is deleted afterwards."""
    names: list[str] = []

    def make(embed: Any = None, **spec: Any) -> str:
        names.append(f"target-{len(names)}")
        if embed is None:
            spec = {"dimension": 4, "metric": "dotproduct", **spec}
        return made(servers[1], names[-1], embed, **spec)

    yield make
    with servers[1].client() as http:
        for name in names:
            http.delete(f"/indexes/{name}").raise_for_status()


def test_a_copy_has_the_same_records_to_the_last_bit(pinyon: Pinyon, source: str, target: Target) -> None:
    there = target()
    done = pinyon.ok("copy", "--from", source, "--to", there, "--parallel", "2")
    assert everything(there) == everything(source)
    assert set(everything(source)) == {"__default__", "a/b", "one"}
    assert "Copied 371 records in 4 namespaces.\nVerified: 371 records on both sides, 100 sampled records" in done.out
    assert "Overlap of the 10 nearest records of 20 records: 1.00.\n" in done.out


@pytest.mark.parametrize("kind", ["sparse", "embedded"])
def test_every_kind_of_index_is_copied(pinyon: Pinyon, servers: list[RunningServer], target: Target, kind: str) -> None:
    spec: dict[str, Any] = {"vector_type": "sparse", "dimension": None, "metric": "dotproduct"}
    if kind == "embedded":
        spec = {"embed": {"model": "pinyon-hash-embed", "field_map": {"text": "text"}}}
    host, there = made(servers[0], kind, **spec), target(**spec)
    if kind == "sparse":
        upserted(
            host,
            "n",
            [{"id": f"{n}", "sparseValues": {"indices": [7, n + 9], "values": [1, n + 0.5]}} for n in range(5)],
        )
    else:
        rows = [json.dumps({"_id": f"{n}", "text": f"text {n}"}) for n in range(5)]
        httpx.post(
            f"{host}/records/namespaces/n/upsert", content="\n".join(rows), timeout=GIVEN_UP_S
        ).raise_for_status()
    pinyon.ok("copy", "--from", host, "--to", there)
    assert everything(there) == everything(host)
    assert len(everything(there)["n"]) == 5


def test_a_copy_that_embeds_anew_sends_the_fields_and_can_rename_them(
    pinyon: Pinyon, servers: list[RunningServer], source: str, target: Target
) -> None:
    there = target({"model": "pinyon-hash-embed", "field_map": {"text": "chunk"}})
    host = made(servers[0], "fields", dimension=2, metric="cosine")
    upserted(
        host, "n", [{"id": f"{n}", "values": [1, n], "metadata": {"body": f"text {n}", "id": n}} for n in range(150)]
    )
    copy = ("copy", "--from", host, "--to", there, "--reembed", "--map", "body=chunk")
    assert "Record '0' has a field 'id', which means the id" in pinyon(*copy).err
    done = pinyon.ok(*copy, "--map", "id=number")
    records = everything(there)["n"]
    assert {id: record["metadata"] for id, record in records.items()} == {
        f"{n}": {"chunk": f"text {n}", "number": n} for n in range(150)
    }
    assert "records: " in done.out and "(for information: the two are searched differently)" in done.out


def test_one_namespace_is_copied_alone(pinyon: Pinyon, source: str, target: Target) -> None:
    there = target()
    pinyon.ok("copy", "--from", source, "--to", there, "--namespace", "one")
    assert set(everything(there)) == {"one"}
    taken = pinyon("copy", "--from", source, "--to", there)
    assert f"Namespace 'one' of {there} has 1 records already. --overwrite copies into it" in taken.err
    pinyon.ok("copy", "--from", source, "--to", there, "--overwrite")
    assert everything(there) == everything(source)


def test_requests_are_repeated_when_a_server_is_busy_and_it_says_for_how_long(
    pinyon: Pinyon, source: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    def busy(times: int, _: str) -> tuple[int, dict[str, str]] | None:
        refusals: dict[int, tuple[int, dict[str, str]]] = {1: (429, {"Retry-After": "7"}), 2: (503, {})}
        return refusals.get(times)

    monkeypatch.setattr(api, "asyncio", SimpleNamespace(sleep=sleep))
    there = target()
    with proxy(source, busy) as first, proxy(there, busy) as second:
        pinyon.ok("copy", "--from", first.url, "--to", second.url)
    assert everything(there) == everything(source)
    assert waits.count(7.0) > 20, "every request is refused once in this way"
    assert len([wait for wait in waits if wait < 1]) == waits.count(7.0), "and once without a time"
    assert {"/vectors/list", "/vectors/fetch", "/query"} <= set(first.paths)


def test_each_side_gets_its_own_key(
    pinyon: Pinyon, source: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINECONE_API_KEY", "hosted")
    with proxy(source, lambda *_: None) as first, proxy(target(), lambda *_: None) as second:
        pinyon.ok("copy", "--from", first.url, "--to", second.url, "--namespace", "one", "--to-key", "own")
    assert (first.keys, second.keys) == ({None}, {"own"})


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_told_with_the_side_that_refuses_it(
    pinyon: Pinyon, source: str, target: Target, status: int
) -> None:
    with proxy(target(), lambda *_: (status, {})) as second:
        done = pinyon("copy", "--from", source, "--to", second.url, "--to-key", "wrong")
    assert (done.status, len(second.paths)) == (1, 1)
    assert done.err == f"pinyon: {second.url}: The server refuses: refused by the proxy\n"


def test_an_index_without_a_list_of_ids_is_read_by_a_filter(pinyon: Pinyon, source: str, target: Target) -> None:
    there = target()
    with proxy(source, lambda _, path: (501, {}) if path.startswith("/vectors/list") else None) as pods:
        pinyon.ok("copy", "--from", pods.url, "--to", there)
    assert everything(there) == everything(source)
    assert pods.paths.count("/vectors/fetch_by_metadata") >= 5


def test_an_interrupted_copy_goes_on_where_it_was(
    pinyon: Pinyon, source: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = target()
    copy = ("copy", "--from", source, "--to", there, "--parallel", "1")
    assert "There is no interrupted copy" in pinyon(*copy, "--resume").err
    copy_page, pages = CopyJob._copy_page, []

    async def interrupted(self: CopyJob, name: str, page: Any) -> list[str]:
        pages.append(name)
        if len(pages) == 3:
            raise KeyboardInterrupt
        return await copy_page(self, name, page)

    with monkeypatch.context() as patched:
        patched.setattr(CopyJob, "_copy_page", interrupted)
        done = pinyon(*copy)
    assert (done.status, pages) == (130, ["__default__"] * 3)
    assert "the same command with --resume goes on with it" in done.err
    assert "--resume goes on with an interrupted copy" in pinyon(*copy).err
    assert "The interrupted copy had another reembed: False, not True" in pinyon(*copy, "--resume", "--reembed").err
    with proxy(there, lambda *_: None) as counted:
        moved = [counted.url if each == there else each for each in copy]
        assert "There is no interrupted copy" in pinyon(*moved, "--resume").err
    again: list[str] = []
    with monkeypatch.context() as patched:

        async def noted(self: CopyJob, name: str, page: Any) -> list[str]:
            again.append(name)
            return await copy_page(self, name, page)

        patched.setattr(CopyJob, "_copy_page", noted)
        pinyon.ok(*copy, "--resume")
    assert again.count("__default__") == 1, "two of its three pages were copied before"
    assert everything(there) == everything(source)
    assert "There is no interrupted copy" in pinyon(*copy, "--resume").err


def test_a_copy_that_is_not_like_its_source_fails_with_the_differences(
    pinyon: Pinyon, source: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = target()
    copy = ("copy", "--from", source, "--to", there, "--wait", "0", "--sample", "371")
    run = CopyJob.run

    async def damaged(self: CopyJob) -> None:
        await run(self)
        changed = {"namespace": "a/b", "id": vector(5)["id"], "setMetadata": {"n": -5}}
        httpx.post(f"{there}/vectors/update", json=changed, timeout=GIVEN_UP_S).raise_for_status()
        body = {"namespace": "__default__", "ids": [vector(7)["id"]]}
        httpx.post(f"{there}/vectors/delete", json=body, timeout=GIVEN_UP_S).raise_for_status()

    with monkeypatch.context() as patched:
        patched.setattr(CopyJob, "run", damaged)
        done = pinyon(*copy)
    assert done.status == 1
    assert "namespace '__default__' has 250 records in the source and 249 in the target" in done.err
    assert f"record '{vector(5)['id']}' of namespace 'a/b' differs" in done.err
    assert f"record '{vector(7)['id']}' of namespace '__default__' is missing in the target" in done.err
    upserted(there, "a/b", [vector(5)])
    upserted(there, "__default__", [vector(7)])
    pinyon.ok(*copy, "--resume")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "{source}"], "--from and --to are the same index"),
        (["--to", "{source}/path"], "has more than scheme, host and port"),
        (["--to", "ftp://host"], "is no address of a server"),
        (["--to", "http://127.0.0.1:9"], "Nobody answers at http://127.0.0.1:9"),
        (["--parallel", "0"], "--parallel must be from 1 to 64, got 0"),
        (["--sample", "-1"], "--sample must be 0 or more, got -1"),
        (["--wait", "nan"], "--wait must be 0 or more, got nan"),
        (["--map", "a=b"], "--map is for --reembed"),
        (["--reembed", "--map", "a"], "--map takes OLD=NEW, such as title=chunk_text, got 'a'"),
        (["--reembed"], "Integrated inference is not configured for this index"),
        (["--namespace", "none"], "has no namespace 'none'; it has: __default__, a/b, empty, one"),
        (["--to-key", "ü"], "The API key has characters other than ASCII"),
    ],
)
def test_what_cannot_be_copied_is_refused(
    pinyon: Pinyon, source: str, target: Target, arguments: list[str], message: str
) -> None:
    there = [] if "--to" in arguments else ["--to", target()]
    done = pinyon("copy", "--from", source, *there, *(each.format(source=source) for each in arguments))
    assert (done.status, done.out) == (1, "")
    assert message in done.err


def test_vectors_that_do_not_fit_are_refused_before_anything_is_copied(
    pinyon: Pinyon, source: str, target: Target
) -> None:
    there = target(dimension=3)
    done = pinyon("copy", "--from", source, "--to", there)
    assert "has vectors of 4 numbers" in done.err and "has vectors of 3 numbers; the vectors of one" in done.err
    assert everything(there) == {}


@pytest.fixture(scope="module")
def large(servers: list[RunningServer]) -> str:
    """An index with 33 pages of records."""
    host = made(servers[0], "large", dimension=4, metric="dotproduct")
    for name in ("a", "b", "c"):
        upserted(host, name, [vector(n) for n in range(1_050)])
    return host


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [1, 2, 5, 11, 12, 15, 20, 25, 29, 33])
def test_a_copy_that_is_killed_goes_on_and_loses_nothing(
    large: str, target: Target, tmp_path: Path, kill_at: int
) -> None:
    there = target()
    running: list[subprocess.Popen[str]] = []
    upserts: list[str] = []

    def kill(_: int, path: str) -> None:
        if path == "/vectors/upsert":
            upserts.append(path)
            if len(upserts) == kill_at:
                running[0].kill()

    with proxy(there, kill) as between:
        command = [sys.executable, "-m", "pinyon", "copy", "--from", large, "--to", between.url]
        command += ["--state", str(tmp_path / "state.json")]
        variables = environment()
        running.append(subprocess.Popen(command, cwd=PROJECT, env=variables, stderr=subprocess.DEVNULL, text=True))
        assert running[0].wait(GIVEN_UP_S) == -signal.SIGKILL
        before = len(upserts)
        done = subprocess.run(
            [*command, "--resume"], cwd=PROJECT, env=variables, capture_output=True, text=True, timeout=GIVEN_UP_S
        )
    assert done.returncode == 0, done
    assert "Verified: 3150 records on both sides, 100 sampled records are the same" in done.stdout
    assert everything(there) == everything(large)
    if kill_at >= 29:
        assert len(upserts) - before < 33, "pages that the state has are not copied again"
