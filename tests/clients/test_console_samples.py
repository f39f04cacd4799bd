"""The requests that the console shows, run as they are: in a shell, and with Pinecone's own clients."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec
import pytest
from pinyon.console.paths import KEY_COOKIE, ROOT

from tests.clients.environments import python_with
from tests.clients.running import ClientsServer, run_script
from tests.clients.typescript_client import installed, need, node_environment

pytestmark = pytest.mark.clients

NAMESPACE = 'console\'s "samples" & ${more}'
RECORDS = [
    {"_id": "it's", "chunk_text": "An apple's `fiber` costs $5", "year": 2020},
    {"_id": 'say "so"', "chunk_text": "Apples \\ pears, and fiber", "year": 2021},
    {"_id": "${id}", "chunk_text": "Fiber of hemp", "year": 2022},
    {"_id": "old", "chunk_text": "Fiber of flax", "year": 1900},
]
SEARCH = {
    "index": "samples",
    "namespace": NAMESPACE,
    "q": 'it\'s "fiber" of `apples` for $5 \\ ${x} %22 é 🍎',
    "filter": '{"$and": [{"year": {"$gte": 2000}}, {"year": {"$exists": true}}]}',
    "rerank": "bm25",
    "top_k": "3",
}
COLUMNS = ("dense", "lexical", "hybrid", "reranked")


class Shown(msgspec.Struct):
    """A column of the page. hits: ids, best first. samples: programs by their language."""

    hits: list[str]
    samples: dict[str, str]


@pytest.fixture(scope="module")
def pages(clear_server: ClientsServer) -> Iterator[httpx.Client]:
    """A browser that is logged in, at a server with an index of texts."""
    with httpx.Client(base_url=clear_server.url, timeout=60) as client:
        client.headers["Api-Key"] = clear_server.api_key
        embed = {"model": "pinyon-hash-embed", "field_map": {"text": "chunk_text"}}
        made = client.post(
            "/indexes/create-for-model", json={"name": "samples", "cloud": "aws", "region": "us-east-1", "embed": embed}
        )
        host = made.raise_for_status().json()["host"]
        url = host if host.startswith("http") else f"http://{host}"
        client.post(
            f"{url}/records/namespaces/{quote(NAMESPACE, safe='')}/upsert",
            content=b"\n".join(map(msgspec.json.encode, RECORDS)),
        ).raise_for_status()
        del client.headers["Api-Key"]
        client.headers["cookie"] = f"{KEY_COOKIE}={clear_server.api_key}"
        yield client
        del client.headers["cookie"]
        client.delete("/indexes/samples", headers={"Api-Key": clear_server.api_key}).raise_for_status()


def shown(pages: httpx.Client, values: dict[str, str], columns: tuple[str, ...]) -> dict[str, Shown]:
    """The columns of a search by their names."""
    answer = pages.get(ROOT, params={**values, **({"show": columns} if columns != ("nearest",) else {})})
    assert answer.status_code == 200, answer.text
    by_name = {}
    for name, section in zip(columns, answer.text.split("<section")[1:], strict=True):
        hits = [unescape(id) for id in re.findall(r"<strong>\d+\. <bdi>(.*?)</bdi>", section)]
        samples = re.findall(r'<pre[^>]*aria-label="(\w+)"[^>]*><code>(.*?)</code>', section, re.DOTALL)
        by_name[name] = Shown(hits, {language: unescape(code) for language, code in samples})
        assert hits and list(by_name[name].samples) == ["curl", "Python", "TypeScript"]
    return by_name


@pytest.fixture(scope="module")
def columns(pages: httpx.Client) -> dict[str, Shown]:
    """What the page shows of a search by text, in every way, and of a search by a record."""
    by_id = {**SEARCH, "id": "it's"}
    del by_id["q"], by_id["rerank"]
    return shown(pages, SEARCH, COLUMNS) | shown(pages, {**by_id, "fields": "year"}, ("nearest",))


EVERY = pytest.mark.parametrize("column", [*COLUMNS, "nearest"])


@EVERY
def test_the_request_in_a_shell_gives_the_hits_of_the_page(
    column: str, columns: dict[str, Shown], clear_server: ClientsServer
) -> None:
    need("bash", "curl")
    env = {"PINECONE_API_KEY": clear_server.api_key}
    answer = json.loads(run_script(["bash", "-c", columns[column].samples["curl"]], env))
    assert [hit["_id"] for hit in answer["result"]["hits"]] == columns[column].hits


@pytest.mark.parametrize("client", ["pinecone-7", "pinecone-9", "pinecone-10"])
def test_the_programs_in_python_give_the_hits_of_the_page(
    client: str, columns: dict[str, Shown], clear_server: ClientsServer, tmp_path: Path
) -> None:
    files = [tmp_path / f"{column}.py" for column in columns]
    for file in files:
        file.write_text(columns[file.stem].samples["Python"])
    program = Path(__file__).parent / "python" / "console_samples.py"
    printed = run_script([python_with(client), program, *files], clear_server.environment)
    assert json.loads(printed) == {name: each.hits for name, each in columns.items()}


def test_the_programs_in_typescript_are_typed_and_give_the_hits_of_the_page(
    columns: dict[str, Shown], clear_server: ClientsServer
) -> None:
    folder = installed() / "samples"
    folder.mkdir(exist_ok=True)
    for column, each in columns.items():
        printing = "console.log(JSON.stringify(result.result.hits.map((hit) => hit._id)));\n"
        (folder / f"{column}.ts").write_text(f"{each.samples['TypeScript']}{printing}")
    files = [str(folder / f"{column}.ts") for column in columns]
    programs, env = folder.parent / "node_modules" / ".bin", node_environment(clear_server)
    strict = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--types", "node", "--skipLibCheck"]
    run_script([programs / "tsc", *strict, "--typeRoots", str(folder.parent / "node_modules/@types"), *files], env)
    printed = {
        column: json.loads(run_script([programs / "tsx", file], env))
        for column, file in zip(columns, files, strict=True)
    }
    assert printed == {name: each.hits for name, each in columns.items()}
