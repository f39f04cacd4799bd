"""Imports from Google Cloud Storage, read by its driver from a server in this process."""

import asyncio
import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pinyon.errors import InvalidArgument
from pinyon.formats import files
from pinyon.formats.rows import Row
from pinyon.services.imports import allow_list, imports, remote_files

from tests.services.imports.test_imports import running, vectors

pytest.importorskip("gcsfs", reason="the extra 'cloud' is not installed")

pytestmark = pytest.mark.anyio
PAGE = 2
"""Objects that one page of a listing has."""
TOKEN = "ya29.token"


def parquet(rows: int) -> bytes:
    stream = io.BytesIO()
    writer = files.writer(stream, "parquet", sparse=False)
    writer.write([Row(0, f"p{n}", np.float32([n / 7, 1 / 3]), None, {"n": n}) for n in range(rows)])
    writer.close()
    return stream.getvalue()


class Store:
    """What is in the store. objects: by bucket and name. ranges: those that were asked for."""

    url: str

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, bytes]] = {"public": {}, "private": {}}
        self.ranges: list[tuple[int, int]] = []


class Handler(BaseHTTPRequestHandler):
    """Answers as much of the JSON API as an import needs, and as a server of tokens.

    Anybody may list and read the objects of the bucket `public`. For the others, and to ask for a bucket itself, a
    token is needed.
    """

    protocol_version = "HTTP/1.1"
    store: Store

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        assert self.path == "/token"
        self.answer(200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        names = re.fullmatch(
            r"(?P<download>/download)?/storage/v1/b/(?P<bucket>[^/]+)(?P<o>/o(/(?P<key>.+))?)?", url.path
        )
        assert names is not None, self.path
        bucket = names["bucket"]
        if self.headers.get("authorization") != f"Bearer {TOKEN}" and (bucket != "public" or names["o"] is None):
            permission = "storage.objects.list" if names["o"] else "storage.buckets.get"
            self.refuse(401, f"Anonymous caller does not have {permission} access to the bucket (or it may not exist).")
            return
        objects = self.store.objects.get(bucket)
        if objects is None:
            self.refuse(404, "The specified bucket does not exist.")
        elif names["o"] is None:
            self.answer(200, {"kind": "storage#bucket", "name": bucket})
        elif names["key"] is None:
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            self.answer(200, listing(bucket, objects, query))
        elif unquote(names["key"]) not in objects:
            self.refuse(404, f"No such object: {bucket}/{unquote(names['key'])}")
        elif names["download"]:
            self.answer_content(objects[unquote(names["key"])])
        else:
            self.answer(200, resource(bucket, objects, unquote(names["key"])))

    def answer_content(self, content: bytes) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"])
        assert wanted is not None, self.headers["range"]
        first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
        self.store.ranges.append((first, last))
        self.send(206, content[first : last + 1], content_range=f"bytes {first}-{last}/{len(content)}")

    def refuse(self, status: int, message: str) -> None:
        self.answer(status, {"error": {"code": status, "message": message}})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        self.send(status, json.dumps(body).encode(), content_type="application/json")

    def send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def resource(bucket: str, objects: dict[str, bytes], name: str) -> dict[str, Any]:
    size = str(len(objects[name]))
    return {"kind": "storage#object", "bucket": bucket, "name": name, "size": size, "generation": "1"}


def listing(bucket: str, objects: dict[str, bytes], query: dict[str, str]) -> dict[str, Any]:
    """A page of the objects and of the folders below a prefix. Its token is the last name of the page before."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
    entries = dict[str, str]()
    for name in sorted(objects):
        if name.startswith(prefix):
            folder, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            entries |= {prefix + folder + "/": "prefix"} if found else {name: "item"}
    following = [name for name in entries if name > query.get("pageToken", "")]
    page = following[: min(PAGE, int(query.get("maxResults", PAGE)))]
    return {
        "kind": "storage#objects",
        "items": [resource(bucket, objects, name) for name in page if entries[name] == "item"],
        "prefixes": [name for name in page if entries[name] == "prefix"],
        **({"nextPageToken": page[-1]} if len(following) > len(page) else {}),
    }


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store where its driver looks for one, on a machine that has no credentials."""
    store = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfStore", (Handler,), {"store": store}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.url)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    yield store
    server.shutdown()
    server.server_close()


def service_account(file: Path, store: Store) -> None:
    """Write a key file that gets its tokens from the store."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    named = {"type": "service_account", "project_id": "p", "client_email": "me@example.com"}
    file.write_text(json.dumps({**named, "private_key": key.decode(), "token_uri": f"{store.url}/token"}))


@pytest.mark.parametrize("address", ["gs://public/data", "gs://public"])
async def test_the_folders_of_a_bucket_become_namespaces(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    pytest.importorskip("pyarrow")
    block = 8_192
    monkeypatch.setattr(remote_files, "BLOCK", block)
    folder = address.removeprefix("gs://public").lstrip("/")
    content = {
        "": b"",
        "one/": b"",
        "one/a.parquet": parquet(2_500),
        "one/b c.jsonl": vectors(0, 3).encode(),
        "two/deep/d.jsonl": vectors(0, 1_200).encode(),
        "two/.hidden.jsonl": b"no",
        "notes.txt": b"no",
    }
    store.objects["public"] = {f"{folder}/{name}".lstrip("/"): each for name, each in content.items()}
    store.objects["public"].pop("", None)  # no object has an empty name
    async with running(tmp_path, allow=["gs://public"]) as server:
        done = await server.done(address)
        assert (done["status"], done["recordsImported"], done.get("error")) == ("Completed", 3_703, None)
        assert await server.counts() == {"one": 2_503, "two": 1_200}
        fetched = await server.fetch("p1234", "one")
        assert np.float32(fetched["values"]).tobytes() == np.float32([1234 / 7, 1 / 3]).tobytes()
        assert fetched["metadata"] == {"n": 1234}
        assert (await server.fetch("r1199", "two"))["metadata"] == {"n": 1199}
    size = len(content["one/a.parquet"])
    assert max(last - first for first, last in store.ranges) < max(size, len(content["two/deep/d.jsonl"])), "in parts"


async def test_one_object(tmp_path: Path, store: Store) -> None:
    store.objects["public"]["data/a.jsonl"] = vectors(0, 7).encode()
    async with running(tmp_path, allow=["gs://public/data"]) as server:
        done = await server.done("gs://public/data/a.jsonl")
        assert (done["status"], done["recordsImported"]) == ("Completed", 7)
        assert await server.counts() == {"__default__": 7}


async def test_what_is_not_allowed_or_not_in_the_store(tmp_path: Path, store: Store) -> None:
    store.objects["public"] = {"data/a.txt": b"no", "data/b.jsonl": b"no", "database/c.jsonl": vectors(0, 1).encode()}
    async with running(tmp_path, allow=["gs://public/data"]) as server:
        for address in ("gs://private/data/b.jsonl", "gs://public/database/c.jsonl", "gs://public"):
            answer = await server.http.post(f"{server.host}/bulk/imports", json={"uri": address})
            assert (answer.status_code, "[import]" in answer.json()["message"]) == (403, True), address
        for address, problem in (
            ("gs://public/data/none.jsonl", "There is nothing at gs://public/data/none.jsonl"),
            ("gs://public/data/none", "There is nothing at gs://public/data/none"),
            ("gs://public/data/a.txt", "The format of gs://public/data/a.txt is not known"),
            ("gs://public/data/b.jsonl", "b.jsonl, row 1"),
        ):
            done = await server.done(address)
            assert (done["status"], done["recordsImported"]) == ("Failed", 0), address
            assert problem in done["error"]
    with pytest.raises(InvalidArgument, match="There is nothing at gs://public/none"):
        allow_list.source("gs://public/none", ["gs://"]).files()


async def test_a_bucket_that_is_not_there_is_told_to_who_has_credentials(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_account(tmp_path / "key.json", store)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    for address in ("gs://none", "gs://none/data"):
        with pytest.raises(InvalidArgument, match=f"There is nothing at {address}"):
            await asyncio.to_thread(allow_list.source(address, ["gs://"]).files)


async def test_without_credentials_an_import_waits_and_says_why(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "RETRY_S", 0.01)
    store.objects["private"]["data/one/a.jsonl"] = vectors(0, 5).encode()
    async with running(tmp_path, allow=["gs://"]) as server:
        ids = [await server.start(address) for address in ("gs://private/data", "gs://private")]
        for id in ids:
            described = await server.until(id, "Anonymous caller does not have")
            assert (described["status"], described["recordsImported"]) == ("Pending", 0)
        (await server.http.delete(f"{server.host}/bulk/imports/{ids[0]}")).raise_for_status()
        assert (await server.describe(ids[0]))["status"] == "Cancelled"
        service_account(tmp_path / "key.json", store)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        done = await server.until(ids[1], "Completed", "Failed")
        assert (done["status"], done["recordsImported"], done.get("error")) == ("Completed", 5, None)
        assert await server.counts() == {"data": 5}
        assert (await server.describe(ids[0]))["status"] == "Cancelled"
