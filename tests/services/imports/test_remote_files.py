"""Files on web servers and in object stores, read from servers in this process."""

import asyncio
import gc
import re
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pinyon.errors import InvalidArgument, PermissionDenied
from pinyon.services.imports import allow_list
from pinyon.services.imports.sources import SourceUnavailable

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

FILES = {"/data/one/a.jsonl": b'{"id": "a"}\n' * 1_000, "/data/b.csv": b"id\nb\n", "/data/notes.txt": b"no"}


class Handler(BaseHTTPRequestHandler):
    """Answers as a web server, and as much as an import needs of S3 with the bucket `data`."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        if path == "/moved.jsonl":
            self.answer(302, b"", location="/data/b.csv")
        elif path == "/secret.jsonl":
            self.answer(403, b"")
        elif path == "/broken.jsonl" and self.command == "GET":
            self.answer(500, b"")
        elif path == "/broken.jsonl":
            self.answer(200, b"x" * 100)
        elif "list-type" in query:
            self.answer(200, listing(query.get("prefix", [""])[0]), content_type="application/xml")
        elif path.rstrip("/") == "/data":
            self.answer(200, b"")
        elif path in FILES:
            self.answer_file(FILES[path])
        else:
            self.answer(404, b"")

    def answer_file(self, content: bytes) -> None:
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self.answer(200, content)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        self.answer(206, content[first : last + 1], content_range=f"bytes {first}-{last}/{len(content)}")

    def answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"accept_ranges": "bytes", "last_modified": formatdate(usegmt=True), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def listing(prefix: str) -> bytes:
    keys = [path.removeprefix("/data/") for path in FILES]
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>{len(FILES[f'/data/{key}'])}</Size>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>1</ETag></Contents>"
        for key in keys
        if key.startswith(prefix)
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_file_of_a_web_server(url: str) -> None:
    source = allow_list.source(f"{url}/data/one/a.jsonl", [f"{url}/data"])
    (file,) = source.files()
    assert (file.name, file.namespace, file.format, file.size) == ("a.jsonl", "__default__", "jsonl", 12_000)
    with source.open(file) as stream:
        assert stream.read() == FILES["/data/one/a.jsonl"]


def test_a_redirect_is_not_followed(url: str) -> None:
    with pytest.raises(PermissionDenied, match="does not import from there"):
        allow_list.source(f"{url}/moved.jsonl", [url]).files()


def test_what_is_not_there_or_not_to_be_had(url: str) -> None:
    with pytest.raises(InvalidArgument, match="There is nothing at"):
        allow_list.source(f"{url}/none.jsonl", [url]).files()
    with pytest.raises(SourceUnavailable, match="403"):
        allow_list.source(f"{url}/secret.jsonl", [url]).files()
    with pytest.raises(InvalidArgument, match="names that end in"):
        allow_list.source(f"{url}/data/notes.txt", [url]).files()
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        allow_list.source("http://127.0.0.1:1/a.jsonl", ["http://127.0.0.1:1"]).files()


def test_a_stream_that_breaks_is_a_source_that_is_not_there_now(url: str) -> None:
    source = allow_list.source(f"{url}/broken.jsonl", [url])
    (file,) = source.files()
    with source.open(file) as stream, pytest.raises(SourceUnavailable, match="500"):
        stream.readline()


@pytest.fixture
def object_store(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.mark.usefixtures("object_store")
@pytest.mark.anyio
async def test_a_source_that_is_collected_leaves_nothing_to_the_event_loop_of_the_server() -> None:
    source = allow_list.source("s3://data", ["s3://data"])
    await asyncio.to_thread(source.files)
    tasks = asyncio.all_tasks()
    del source
    gc.collect()
    assert asyncio.all_tasks() == tasks


@pytest.mark.usefixtures("object_store")
def test_a_folder_of_an_object_store() -> None:
    source = allow_list.source("s3://data", ["s3://data"])
    files = source.files()
    assert [(file.name, file.namespace, file.format, file.size) for file in files] == [
        ("b.csv", "__default__", "csv", 5),
        ("one/a.jsonl", "one", "jsonl", 12_000),
    ]
    with source.open(files[1]) as stream:
        assert stream.read() == FILES["/data/one/a.jsonl"]
    (file,) = allow_list.source("s3://data/b.csv", ["s3://"]).files()
    assert file.name == "b.csv"
    with pytest.raises(PermissionDenied):
        allow_list.source("s3://data", ["s3://data/one"])
