"""A small HTTP server that plays the Hugging Face hub: one repository, files by revision, ranges, cut connections."""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

LARGE = "model.safetensors"
"""The name of files that git-lfs keeps, which are listed by their sha256."""


class FakeHub:
    """Serves the files of a folder as `repository` at `revision`, which is also the branch main. Must be closed.

    cut_after: bytes of a large file after which the connection breaks, once. swapped: contents that are sent instead of
    what is listed. asked: method, path and Range header of every request.
    """

    def __init__(self, folder: Path, repository: str, revision: str) -> None:
        self.files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        self.repository, self.revision = repository, revision
        self.cut_after: int | None = None
        self.swapped: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def listed(self) -> list[dict[str, Any]]:
        rows = []
        for path, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            row: dict[str, Any] = {"type": "file", "oid": blob, "size": len(content), "path": path}
            if path.endswith(LARGE):
                row["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            rows.append(row)
        return rows

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        path = request.path.partition("?")[0]
        span = request.headers.get("Range")
        self.asked.append((request.command, path, span))
        if path == f"/api/models/{self.repository}/tree/{self.revision}":
            self._send(request, 200, json.dumps(self.listed()).encode(), {"Content-Type": "application/json"}, body)
            return
        if path == f"/api/models/{self.repository}/revision/main":
            about = {"id": self.repository, "sha": self.revision, "siblings": [], "tags": [], "private": False}
            self._send(request, 200, json.dumps(about).encode(), {"Content-Type": "application/json"}, body)
            return
        found = re.fullmatch(rf"/{self.repository}/resolve/{self.revision}/(.+)", path)
        if found is None or found[1] not in self.files:
            headers = {"X-Error-Code": "EntryNotFound" if found else "RevisionNotFound"}
            self._send(request, 404, b"", headers, body)
            return
        name = found[1]
        content = self.swapped.get(name, self.files[name])
        listed = next(row for row in self.listed() if row["path"] == name)
        headers = {
            "X-Repo-Commit": self.revision,
            "ETag": f'"{listed["lfs"]["oid"] if "lfs" in listed else listed["oid"]}"',
            "Accept-Ranges": "bytes",
        }
        status = 200
        if span:
            start = int(span.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        self._send(request, status, content, headers, body, cut=self._cut(name, body))

    def _cut(self, name: str, body: bool) -> int | None:
        if not body or not name.endswith(LARGE) or self.cut_after is None:
            return None
        cut, self.cut_after = self.cut_after, None
        return cut

    def _send(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        content: bytes,
        headers: dict[str, str],
        body: bool,
        cut: int | None = None,
    ) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(name, value)
        request.end_headers()
        if body:
            request.wfile.write(content[:cut])
        if cut is not None:
            request.close_connection = True
