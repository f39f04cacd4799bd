"""`pinyon export`: one moment of an index, in files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinyon.cli.client.transport import Answer, HttpTransport
from pinyon.cli.transfer.exports.backup_reader import BackupReader

from tests.cli.transfer.commands import Pinyon
from tests.running import RunningServer, config, environment, free_ports

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, the extra parquet")
PLACE = {"cloud": "aws", "region": "us-east-1"}
EMBED = {"model": "pinyon-hash-embed", "field_map": {"text": "text"}}
RECORDS = {f"r{n}": {"text": f"text {n}", "year": 2000 + n} for n in range(7)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("export")
    running = RunningServer(config(folder), folder / "data", "--index-ports", free_ports(4))
    with running.client() as http:
        body = {"name": "docs", **PLACE, "embed": EMBED}
        host = http.post("/indexes/create-for-model", json=body).raise_for_status().json()["host"]
        for namespace in ("n", "a/b"):
            lines = [json.dumps({"_id": id, **fields}) for id, fields in RECORDS.items()]
            path = f"{host}/records/namespaces/{namespace.replace('/', '%2F')}/upsert"
            http.post(path, content="\n".join(lines)).raise_for_status()
    yield running
    assert running.stop() == 0, running.text


@pytest.fixture
def http(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client
        assert client.get("/backups").json() == {"data": []}, "an export deletes its backup"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_namespace_is_written_to_one_file(
    pinyon: Pinyon, server: RunningServer, http: httpx.Client, tmp_path: Path
) -> None:
    out = tmp_path / "docs.jsonl"
    done = pinyon.ok("export", "--url", server.url, "--index", "docs", "--namespace", "n", out)
    rows = lines(out)
    assert {row["id"]: row["metadata"] for row in rows} == RECORDS
    host = http.get("/indexes/docs").json()["host"]
    fetched = http.get(f"{host}/vectors/fetch?namespace=n&ids=r1").json()["vectors"]["r1"]
    assert rows[1] == {"id": "r1", "values": fetched["values"], "metadata": RECORDS["r1"]}
    assert "Exported 7 records in 1 namespace of index docs" in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["docs.jsonl"], "nothing else is left"


def test_a_folder_has_a_folder_for_each_namespace_in_the_layout_of_pinecones_import(
    pinyon: Pinyon, server: RunningServer, http: httpx.Client, tmp_path: Path
) -> None:
    pinyon.ok("export", "--url", server.url, "--index", "docs", "--format", "parquet", "--part", "4", tmp_path / "all")
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [f"all/{folder}/part-0000{number}.parquet" for folder in ("a%2Fb", "n") for number in range(2)]
    table = parquet.read_table(tmp_path / "all" / "n")
    assert table.column_names == ["id", "values", "metadata"]
    assert {row["id"]: json.loads(row["metadata"]) for row in table.to_pylist()} == RECORDS


@pytest.mark.usefixtures("http")
def test_only_records_that_match_are_written_and_vectors_can_be_left_out(
    pinyon: Pinyon, server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "new.jsonl"
    wanted = ["--namespace", "n", "--filter", '{"year": {"$gte": 2005}}', "--no-vectors"]
    pinyon.ok("export", "--url", server.url, "--index", "docs", *wanted, out)
    assert lines(out) == [{"id": id, "metadata": RECORDS[id]} for id in ("r5", "r6")]


@pytest.mark.usefixtures("http")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.jsonl"], "several namespaces, and one file does not say which record is in which"),
        (["--namespace", "none", "x"], "Index docs has no namespace 'none'; it has: a/b, n"),
        (["--filter", "{year}", "x"], "--filter is not valid JSON"),
        (["--filter", '{"year": {"$near": 1}}', "x"], "$near"),
        (["--format", "parquet", "x.jsonl"], "is of the format jsonl by its name"),
        (["x.csv"], "cannot hold vectors exactly"),
        (["--part", "0", "x"], "--part must be at least 1"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    pinyon: Pinyon, server: RunningServer, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = pinyon("export", "--url", server.url, "--index", "docs", *arguments[:-1], tmp_path / arguments[-1])
    assert (done.status, list(tmp_path.iterdir())) == (1, [])
    assert message in done.err


def test_a_result_that_is_there_is_not_overwritten_and_an_unknown_index_is_named(
    pinyon: Pinyon, server: RunningServer, http: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    assert "is there already" in pinyon("export", "--url", server.url, "--index", "docs", tmp_path / "x").err
    assert "none" in pinyon("export", "--url", server.url, "--index", "none", tmp_path / "y").err


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
def test_an_interrupted_export_goes_on_with_the_same_moment(
    pinyon: Pinyon,
    server: RunningServer,
    http: httpx.Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    out = tmp_path / f"docs.{end}"
    export: tuple[str | Path, ...] = (
        "export",
        "--url",
        server.url,
        "--index",
        "docs",
        "--namespace",
        "n",
        "--part",
        "2",
        out,
    )
    send, pages = HttpTransport.send, []

    async def interrupted(self: HttpTransport, method: str, url: str, path: str, *rest: Any) -> Answer:
        if path.endswith("/records"):
            pages.append(path)
            if len(pages) == 3:
                raise KeyboardInterrupt
        return await send(self, method, url, path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(HttpTransport, "send", interrupted)
        done = pinyon(*export)
    assert (done.status, out.exists()) == (130, False)
    assert "--resume goes on with it" in done.err
    assert "go on with --resume, or delete" in pinyon(*export).err
    other = pinyon(*export, "--resume", "--no-vectors")
    assert "had another vectors: True, not False" in other.err
    host = http.get("/indexes/docs").json()["host"]
    new = {"id": "new", "values": [1.0] * http.get("/indexes/docs").json()["dimension"]}
    http.post(f"{host}/vectors/upsert", json={"namespace": "n", "vectors": [new]}).raise_for_status()
    pinyon.ok(*export, "--resume")
    http.post(f"{host}/vectors/delete", json={"namespace": "n", "ids": ["new"]}).raise_for_status()
    read = lines(out) if end == "jsonl" else parquet.read_table(out).to_pylist()
    assert [row["id"] for row in read] == sorted(RECORDS)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_an_interrupted_export_whose_backup_is_gone_says_so(
    pinyon: Pinyon, server: RunningServer, http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(BackupReader, "namespaces", interrupted)
        pinyon("export", "--url", server.url, "--index", "docs", tmp_path / "docs")
    (backup,) = http.get("/backups").json()["data"]
    http.delete(f"/backups/{backup['backup_id']}").raise_for_status()
    done = pinyon("export", "--url", server.url, "--index", "docs", tmp_path / "docs", "--resume")
    assert done.status == 1
    assert f"The backup {backup['backup_id']}, which the interrupted export reads, is gone" in done.err


def test_without_a_server_the_command_reads_the_data_folder_itself(pinyon: Pinyon, tmp_path: Path) -> None:
    settings, data = config(tmp_path), tmp_path / "data"
    running = RunningServer(settings, data)
    with running.client() as http:
        http.post("/records/namespaces/n/upsert", json={"_id": "a", "chunk_text": "text"}).raise_for_status()
        at = ("export", "--config", settings, "--data-dir", data, "--index", "quickstart")
        pinyon.ok(*at, tmp_path / "from the server")
    assert running.stop() == 0
    pinyon.ok(*at, tmp_path / "from the folder")
    first, second = (tmp_path / f"from the {which}" / "n" / "part-00000.jsonl" for which in ("server", "folder"))
    assert first.read_bytes() == second.read_bytes()
    assert lines(first)[0]["metadata"] == {"chunk_text": "text"}
    assert "no data folder" in pinyon("export", "--data-dir", tmp_path / "none", "--index", "i", tmp_path / "x").err


def test_a_server_with_keys_gets_the_key_of_the_option_or_of_the_environment(
    pinyon: Pinyon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = RunningServer(config(tmp_path), tmp_path / "data", "--api-key", "secret")
    at = ("export", "--url", running.url, "--index", "quickstart")
    assert "key" in pinyon(*at, tmp_path / "a").err
    pinyon.ok(*at, "--key", "secret", tmp_path / "b")
    with monkeypatch.context() as patched:
        patched.setattr(
            "tests.cli.transfer.commands.environment", lambda **more: environment(PINYON_API_KEY="secret", **more)
        )
        pinyon.ok(*at, tmp_path / "c")
    assert running.stop() == 0


@pytest.mark.parametrize("url", ["localhost:5080", "ftp://localhost", "http://localhost:5080/indexes", "http://:x", ""])
def test_an_address_that_is_none_is_refused(pinyon: Pinyon, tmp_path: Path, url: str) -> None:
    done = pinyon("export", "--url", url, "--index", "docs", tmp_path / "x")
    assert done.status == 1
    assert "is no address of a server; it looks like http://localhost:5080" in done.err


def test_a_server_that_does_not_answer_is_not_waited_for(pinyon: Pinyon, tmp_path: Path) -> None:
    done = pinyon(
        "export", "--url", f"http://127.0.0.1:{free_ports(1).split('-')[0]}", "--index", "docs", tmp_path / "x"
    )
    assert (done.status, list(tmp_path.glob("x*"))) == (1, [])
    assert "Nobody answers at http://127.0.0.1:" in done.err
