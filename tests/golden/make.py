"""How the data folders beside this file were made: by the version itself, over HTTP.

    python -m tests.golden.make NAME      in a checkout of that version; copy this file there if it has none

Writes NAME.tar.gz, a data folder at rest, and NAME.json, what clients saw of it.
"""

import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import httpx

from tests.running import RunningServer, config

HERE = Path(__file__).parent
TEXTS = ["apples and pears", "a stone in the river", "silver engines of winter", "paper clouds, paper boats"]
SEARCHES: list[dict[str, Any]] = [
    {"query": {"inputs": {"text": "apples"}, "top_k": 3}},
    {"query": {"inputs": {"text": "paper"}, "top_k": 3, "filter": {"n": {"$gte": 10}, "tag": {"$in": ["a", "b"]}}}},
    {"query": {"id": "r3", "top_k": 5}},
]


def fill(client: httpx.Client) -> None:
    """Upserts, updates and deletes in two namespaces, so that there are gaps."""
    for namespace in ("one", "two"):
        for first in range(0, 120, 40):
            rows = [
                {"_id": f"r{n}", "chunk_text": f"{TEXTS[n % 4]} {n}", "n": n, "tag": "abc"[n % 3], "list": ["x", "y"]}
                for n in range(first, first + 40)
            ]
            client.post(f"/records/namespaces/{namespace}/upsert", json=rows).raise_for_status()
        gone = [f"r{n}" for n in range(1, 120, 7)]
        client.post("/vectors/delete", json={"namespace": namespace, "ids": gone}).raise_for_status()
    changed = {"namespace": "one", "id": "r2", "setMetadata": {"tag": "changed", "n": 1000}}
    client.post("/vectors/update", json=changed).raise_for_status()


def seen(client: httpx.Client) -> list[Any]:
    """What is there."""
    found: list[Any] = [client.get("/describe_index_stats").json()["namespaces"]]
    for namespace in ("one", "two"):
        for search in SEARCHES:
            answer = client.post(f"/records/namespaces/{namespace}/search", json=search).raise_for_status()
            found.append(answer.json()["result"]["hits"])
        params = {"namespace": namespace, "ids": ["r2", "r3"]}
        found.append(client.get("/vectors/fetch", params=params).raise_for_status().json()["vectors"])
    return found


def main(name: str) -> None:
    """Make both files."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        server = RunningServer(config(folder), folder / "data")
        with httpx.Client(base_url=server.url, timeout=60) as client:
            fill(client)
            (HERE / f"{name}.json").write_text(json.dumps(seen(client), indent=1) + "\n")
        assert server.stop() == 0
        with tarfile.open(HERE / f"{name}.tar.gz", "w:gz") as archive:
            archive.add(
                folder / "data", "data", filter=lambda one: None if one.name.endswith((".lock", ".json")) else one
            )


if __name__ == "__main__":
    main(sys.argv[1])
