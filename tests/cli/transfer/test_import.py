"""`pinyon import`: rows of files, into an index."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pinyon.cli.client.transport import Answer, HttpTransport

from tests.cli.transfer.commands import Pinyon
from tests.running import PROJECT, RunningServer, config, environment, free_ports

PLACE = {"cloud": "aws", "region": "us-east-1"}
EMBED = {"model": "pinyon-hash-embed", "field_map": {"text": "text"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with an index `docs`, which embeds texts, and an index `vectors` of three numbers."""
    folder = tmp_path_factory.mktemp("import")
    running = RunningServer(config(folder), folder / "data", "--index-ports", free_ports(4))
    with running.client() as http:
        http.post("/indexes/create-for-model", json={"name": "docs", **PLACE, "embed": EMBED}).raise_for_status()
        plain = {"name": "vectors", "dimension": 3, "metric": "dotproduct", "spec": {"serverless": PLACE}}
        http.post("/indexes", json=plain).raise_for_status()
    yield running
    assert running.stop() == 0, running.text


class Index:
    """One of the indexes, as its records are seen by clients. at: the options of commands."""

    def __init__(self, server: RunningServer, http: httpx.Client, name: str) -> None:
        self.http, self.at = http, ("--url", server.url, "--index", name)
        self.host = http.get(f"/indexes/{name}").json()["host"]

    def records(self, namespace: str = "__default__") -> dict[str, dict[str, Any]]:
        """The metadata of the records, by id."""
        told = self.http.post(
            f"{self.host}/vectors/fetch_by_metadata",
            json={"namespace": namespace, "filter": {"none": {"$ne": 1}}, "limit": 1000},
        )
        return {id: each.get("metadata", {}) for id, each in told.raise_for_status().json()["vectors"].items()}

    def namespaces(self) -> dict[str, int]:
        told = self.http.get(f"{self.host}/describe_index_stats").json()["namespaces"]
        return {name: each["vectorCount"] for name, each in told.items()}

    def clear(self) -> None:
        for name in self.namespaces():
            self.http.request("DELETE", f"{self.host}/namespaces/{name}").raise_for_status()


@pytest.fixture
def docs(server: RunningServer) -> Iterator[Index]:
    with server.client() as http:
        yield (index := Index(server, http, "docs"))
        index.clear()


@pytest.fixture
def vectors(server: RunningServer) -> Iterator[Index]:
    with server.client() as http:
        yield (index := Index(server, http, "vectors"))
        index.clear()


def written(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def test_rows_with_text_are_embedded_and_rows_with_vectors_keep_them(
    pinyon: Pinyon, docs: Index, tmp_path: Path
) -> None:
    dimension = docs.http.get("/indexes/docs").json()["dimension"]
    vector = [0.5] * dimension
    file = written(
        tmp_path / "rows.jsonl",
        {"_id": "a", "text": "a text", "year": 1999},
        {"id": "b", "values": vector, "metadata": {"text": "another"}},
    )
    done = pinyon.ok("import", file, *docs.at, "--namespace", "n")
    assert docs.records("n") == {"a": {"text": "a text", "year": 1999}, "b": {"text": "another"}}
    stored = docs.http.get(f"{docs.host}/vectors/fetch?namespace=n&ids=a&ids=b").json()["vectors"]
    assert stored["b"]["values"] == vector != stored["a"]["values"]
    assert "Imported 2 rows into index docs in " in done.out
    pinyon.ok("import", file, *docs.at, "--namespace", "n", "--reembed")
    assert docs.http.get(f"{docs.host}/vectors/fetch?namespace=n&ids=b").json()["vectors"]["b"]["values"] != vector


def test_a_csv_file_is_read_with_the_types_that_are_shown_first(pinyon: Pinyon, docs: Index, tmp_path: Path) -> None:
    file = written(tmp_path / "rows.csv", "key,title,year,zip,new", "a,one,1999,0123,true", "b,two,2000,9000,false")
    mapped = ("--map", "title=text", "--id-column", "key")
    done = pinyon.ok("import", file, *docs.at, *mapped)
    assert f"{file}: title text, year integer, zip text, new boolean\n" in done.err
    assert docs.records() == {
        "a": {"text": "one", "year": 1999, "zip": "0123", "new": True},
        "b": {"text": "two", "year": 2000, "zip": "9000", "new": False},
    }
    done = pinyon.ok("import", file, *docs.at, *mapped, "--type", "year=text")
    assert "year text" in done.err
    assert docs.records()["a"]["year"] == "1999"


def test_numbers_in_the_column_of_texts_are_texts(pinyon: Pinyon, docs: Index, tmp_path: Path) -> None:
    pinyon.ok("import", written(tmp_path / "rows.tsv", "id\ttext", "a\t1984"), *docs.at)
    assert docs.records() == {"a": {"text": "1984"}}


def test_the_folders_of_a_folder_are_namespaces_unless_one_is_named(
    pinyon: Pinyon, vectors: Index, tmp_path: Path
) -> None:
    def row(id: str) -> dict[str, Any]:
        return {"id": id, "values": [1, 2, 3], "sparse_values": {"indices": [7], "values": [0.5]}}

    written(tmp_path / "in" / "top.jsonl", row("a"))
    for folder, id in (("n", "b"), ("a%2Fb", "c"), (".hidden", "d")):
        written(tmp_path / "in" / folder / "rows.jsonl", row(id))
    written(tmp_path / "in" / "README.txt", "no rows")
    pinyon.ok("import", tmp_path / "in", *vectors.at)
    assert vectors.namespaces() == {"__default__": 1, "a/b": 1, "n": 1}
    vectors.clear()
    pinyon.ok("import", tmp_path / "in", *vectors.at, "--namespace", "all")
    assert vectors.namespaces() == {"all": 3}
    (stored,) = vectors.http.get(f"{vectors.host}/vectors/fetch?namespace=all&ids=b").json()["vectors"].values()
    assert stored["sparseValues"] == {"indices": [7], "values": [0.5]}


@pytest.mark.parametrize(
    ("format", "content"), [("jsonl", '{"_id": "a", "text": "piped"}\n'), ("csv", "id,text\na,piped\n")]
)
def test_rows_come_from_standard_input(docs: Index, format: str, content: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pinyon", "import", "-", *docs.at, "--format", format],
        input=content, cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert docs.records() == {"a": {"text": "piped"}}


def wrong_rows(folder: Path) -> tuple[Path, list[str]]:
    """A file with good and wrong rows for `vectors`, and what is said of the wrong ones."""
    rows = [{"id": f"good {n}", "values": [n, 1, 1], "metadata": {"text": "x"}} for n in range(5)]
    wrong = [
        ({"id": "short", "values": [1, 2]}, ": Vector dimension 2 does not match the dimension of the index 3 (vector 'short')"),
        ({"id": "f" * 513, "values": [1, 2, 3]}, ": The vector: 'id' is 513 characters long; at most 512 are allowed"),
        ({"id": "deep", "values": [1, 2, 3], "metadata": {"a": {"b": 1}}}, ": Vector 'deep': Metadata value must be a string, number"),
        ({"id": "big", "values": [1e300, 2, 3]}, ", column 'values': a number is not finite, or too large for 32 bits"),
        ({"id": "none", "text": "x"}, ": the columns with a value are: 'id', 'text'; expected beside the id: 'values'"),
        ({"values": [1, 2, 3]}, ": there is no column of ids"),
        ("{", ": the line is no JSON"),
    ]  # fmt: skip
    mixed = [row for place in range(5) for row in (rows[place], wrong[place][0])] + [wrong[5][0], wrong[6][0]]
    file = written(folder / "rows.jsonl", *mixed)
    numbers = [2, 4, 6, 8, 10, 11, 12]
    return file, [f"{file}, row {number}{said}" for number, (_, said) in zip(numbers, wrong, strict=True)]


def test_refused_rows_are_named_and_written_and_the_others_are_imported(
    pinyon: Pinyon, vectors: Index, tmp_path: Path
) -> None:
    file, said = wrong_rows(tmp_path)
    errors = tmp_path / "errors.jsonl"
    done = pinyon("import", file, *vectors.at, "--errors", errors)
    assert done.status == 1
    assert sorted(vectors.records()) == [f"good {n}" for n in range(5)]
    assert "Imported 5 rows" in done.out
    assert "7 were refused" in done.out
    told = [json.loads(line) for line in errors.read_text().splitlines()]
    assert sorted(each["row"] for each in told) == [2, 4, 6, 8, 10, 11, 12]
    by_row = {each["row"]: each for each in told}
    assert by_row[2]["content"] == {"id": "short", "values": [1.0, 2.0], "metadata": {}}
    for line, message in zip(done.err.splitlines(), said, strict=True):
        assert line.startswith(message)
    assert "--errors" not in done.err


def test_a_dry_run_names_the_rows_that_would_be_refused_and_stores_nothing(
    pinyon: Pinyon, vectors: Index, tmp_path: Path
) -> None:
    file, _ = wrong_rows(tmp_path)
    dry = pinyon("import", file, *vectors.at, "--dry-run")
    assert dry.status == 1
    assert vectors.namespaces() == {}
    assert "5 rows would be imported into index vectors, 7 refused" in dry.out
    real = pinyon("import", file, *vectors.at)
    assert dry.err == real.err


def test_a_dry_run_of_texts_finds_those_without_text(pinyon: Pinyon, docs: Index, tmp_path: Path) -> None:
    file = written(
        tmp_path / "rows.jsonl",
        {"_id": "a", "text": "x"},
        {"_id": "b", "text": " "},
        {"_id": "c", "metadata": {"n": 1}},
    )
    done = pinyon("import", file, *docs.at, "--dry-run")
    assert "row 2: Missing or invalid field 'text' in record 'b': it must be non-empty text" in done.err
    assert (
        "row 3: the columns with a value are: '_id', 'metadata'; expected beside the id: 'text' or 'values'" in done.err
    )
    assert "1 row would be imported" in done.out


@pytest.mark.parametrize(
    ("name", "content", "arguments", "message"),
    [
        ("x.txt", "", [], "does not say its format; expected: names that end in .jsonl"),
        (
            "x.csv",
            "id,title\na,b\n",
            [],
            "the columns are: 'id', 'title'; expected beside the id: 'text' or 'values'",
        ),
        ("x.csv", "title,text\na,b\n", [], "there is no column of ids; the columns are: 'title', 'text'"),
        ("x.csv", "id,text\na,b\n", ["--map", "title"], "--map title: expected is a name, =, and another name"),
        ("x.csv", "id,text\na,b\n", ["--type", "text=date"], "allowed are text, integer, number, boolean"),
        ("x.csv", "id,text\na,b\n", ["--type", "year=text"], "has no column 'year' for --type; its fields are: text"),
        ("x.jsonl", "", ["--resume", "--dry-run"], "not with a pipe or a dry run"),
        ("x.jsonl", "", ["--errors", "/nowhere/e"], "/nowhere/e cannot be written"),
    ],
)
def test_an_import_that_cannot_begin_says_why(
    pinyon: Pinyon, docs: Index, tmp_path: Path, name: str, content: str, arguments: list[str], message: str
) -> None:
    (tmp_path / name).write_text(content)
    done = pinyon("import", tmp_path / name, *docs.at, *arguments)
    assert done.status == 1
    assert message in done.err


def test_what_is_not_there_is_named(pinyon: Pinyon, docs: Index, tmp_path: Path) -> None:
    assert "No such file" in pinyon("import", tmp_path / "none.jsonl", *docs.at).err
    (tmp_path / "empty").mkdir()
    assert "There is no file to import" in pinyon("import", tmp_path / "empty", *docs.at).err


def test_an_interrupted_import_goes_on_where_it_was(
    pinyon: Pinyon, vectors: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": f"r{n:04}", "values": [n, 1, 1]} for n in range(6_500)]
    first, second = written(tmp_path / "a.jsonl", *rows[:6_000]), written(tmp_path / "b.jsonl", *rows[6_000:])
    send, sent = HttpTransport.send, []

    async def interrupted(self: HttpTransport, method: str, url: str, path: str, *rest: Any) -> Answer:
        sent.append(path)
        if sent.count("/vectors/upsert") == 6:
            raise KeyboardInterrupt
        return await send(self, method, url, path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(HttpTransport, "send", interrupted)
        done = pinyon("import", first, second, *vectors.at)
    assert done.status == 130
    assert "--resume goes on with it" in done.err
    sent.clear()

    async def counted(self: HttpTransport, method: str, url: str, path: str, *rest: Any) -> Answer:
        sent.append(path)
        return await send(self, method, url, path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(HttpTransport, "send", counted)
        done = pinyon.ok("import", first, second, *vectors.at, "--resume")
    assert sent.count("/vectors/upsert") < 7, "what is stored is not sent again"
    assert "Imported 6500 rows" in done.out
    assert vectors.namespaces() == {"__default__": 6_500}
    assert "No import of these files was interrupted" in pinyon.ok("import", second, *vectors.at, "--resume").err


def test_a_file_that_has_changed_since_is_not_gone_on_with(
    pinyon: Pinyon, vectors: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "a.jsonl", *({"id": f"r{n}", "values": [n, 1, 1]} for n in range(7_000)))
    send, sent = HttpTransport.send, []

    async def interrupted(self: HttpTransport, method: str, url: str, path: str, *rest: Any) -> Answer:
        sent.append(path)
        if len(sent) == 7:
            raise KeyboardInterrupt
        return await send(self, method, url, path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(HttpTransport, "send", interrupted)
        assert pinyon("import", file, *vectors.at).status == 130
    file.write_text('{"id": "other", "values": [1, 2, 3]}\n')
    assert "has changed since the import was interrupted" in pinyon("import", file, *vectors.at, "--resume").err
    pinyon.ok("import", file, *vectors.at)
    assert "other" in vectors.records()


def test_of_rows_with_the_same_id_the_last_one_counts(pinyon: Pinyon, vectors: Index, tmp_path: Path) -> None:
    rows = [{"id": f"r{n % 700}", "values": [1, 1, 1], "metadata": {"n": n}} for n in range(3_500)]
    pinyon.ok("import", written(tmp_path / "a.jsonl", *rows), *vectors.at)
    assert {record["n"] for record in vectors.records().values()} == set(range(2_800, 3_500))


def test_without_a_server_the_command_writes_to_the_data_folder_itself(pinyon: Pinyon, tmp_path: Path) -> None:
    settings, data = config(tmp_path), tmp_path / "data"
    assert RunningServer(settings, data).stop() == 0
    file = written(tmp_path / "a.jsonl", {"_id": "a", "chunk_text": "text"}, {"_id": "b", "chunk_text": ""})
    at = ("--config", settings, "--data-dir", data, "--index", "quickstart", "--namespace", "a/b")
    done = pinyon("import", file, *at)
    assert (done.status, "Imported 1 row into" in done.out) == (1, True)
    assert "row 2: Missing or invalid field 'chunk_text'" in done.err
    out = tmp_path / "out.jsonl"
    pinyon.ok("export", *at, "--no-vectors", out)
    assert json.loads(out.read_text()) == {"id": "a", "metadata": {"chunk_text": "text"}}
