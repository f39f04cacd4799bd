"""A folder of documents, and the namespace that it is ingested into."""

from pathlib import Path
from typing import Any

import httpx

from tests.cli.transfer.commands import Done, Pinyon

Records = dict[str, dict[str, Any]]


def records(url: str, namespace: str, vectors: bool = False) -> Records:
    """The fields of all records of a namespace, by id; with their vectors in the field "values"."""
    body = {"namespace": namespace, "filter": {"_none": {"$exists": False}}, "limit": 10_000}
    answer = httpx.post(f"{url}/vectors/fetch_by_metadata", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return {
        id: record["metadata"] | ({"values": record["values"]} if vectors else {})
        for id, record in answer.json()["vectors"].items()
    }


class Ingested:
    """Runs `pinyon ingest` and looks at what is stored."""

    def __init__(self, pinyon: Pinyon, url: str, namespace: str, folder: Path) -> None:
        self._pinyon, self.url, self.namespace, self.folder = pinyon, url, namespace, folder

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(self, *options: str) -> Done:
        return self._pinyon(*self.arguments, *options)

    @property
    def arguments(self) -> list[str | Path]:
        """Of the command."""
        return ["ingest", self.folder, "--url", self.url, "--index", "quickstart", "--namespace", self.namespace]

    def ok(self, *options: str) -> Done:
        """Run it and expect success."""
        done = self.run(*options)
        assert done.status == 0, (done.out, done.err)
        return done

    @property
    def records(self) -> Records:
        return records(self.url, self.namespace)
