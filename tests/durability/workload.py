"""What clients do in the durability tests, and what they may expect afterwards.

Each client owns ids, a namespace and an index of its own, so that it knows exactly what must be there: everything as
after its last answered operation, or, if one was in flight, as before or as after that one; never half of it.
"""

import copy
import itertools
import random
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import numpy as np
from pinyon.inference.backends.embedding.hash_backend import HashEncoder

WORDS = ["apple", "banana", "cherry", "stone", "river", "cloud", "engine", "paper", "silver", "winter"]
IDS, TAGS = 30, "abc"
SPEC = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
Fields = dict[str, Any]


class State(msgspec.Struct):
    """What one client has stored: fields by id, by namespace; tags of its own index, or None without it."""

    records: dict[str, dict[str, Fields]]
    index: dict[str, str] | None = None


class Operation(msgspec.Struct):
    """A request, and what is stored after it."""

    method: str
    path: str
    body: Any
    after: State


class Client:
    """One client's operations, drawn at random, and what it knows."""

    def __init__(self, name: str, dice: random.Random, indexes: bool = True) -> None:
        self.name, self.dice, self.indexes = name, dice, indexes
        self.own = f"own-{name}"
        self.known = State({self.own: {}, "shared": {}})
        self.flying: Operation | None = None
        self.answered = 0

    def next(self) -> Operation:
        """Something to do."""
        after = copy.deepcopy(self.known)
        space = self.dice.choice([self.own, self.own, "shared"])
        records = after.records[space]
        kinds: list[Callable[[State, str, dict[str, Fields]], Operation]] = [self._upsert]
        if records:
            kinds += [self._upsert, self._update, self._update_many, self._delete_ids, self._delete_some, self._clear]
        if self.indexes:
            kinds.append(self._index)
        return self.dice.choice(kinds)(after, space, records)

    def _upsert(self, after: State, space: str, records: dict[str, Fields]) -> Operation:
        rows = []
        for number in self.dice.sample(range(IDS), self.dice.randint(1, 8)):
            fields = {
                "chunk_text": " ".join(self.dice.choices(WORDS, k=self.dice.randint(1, 12))),
                "owner": self.name,
                "tag": self.dice.choice(TAGS),
                "n": self.dice.randint(0, 9),
            }
            records[f"{self.name}-{number}"] = fields
            rows.append({"_id": f"{self.name}-{number}", **fields})
        return Operation("POST", f"/records/namespaces/{space}/upsert", rows, after)

    def _update(self, after: State, space: str, records: dict[str, Fields]) -> Operation:
        id, change = self.dice.choice(sorted(records)), {"n": self.dice.randint(10, 99), "new": self.dice.choice(TAGS)}
        records[id] |= change
        return Operation("POST", "/vectors/update", {"id": id, "namespace": space, "setMetadata": change}, after)

    def _update_many(self, after: State, space: str, records: dict[str, Fields]) -> Operation:
        tag, change = self.dice.choice(TAGS), {"n": self.dice.randint(100, 999)}
        for fields in records.values():
            if fields["tag"] == tag:
                fields |= change
        return Operation(
            "POST", "/vectors/update", {"filter": self._mine(tag), "namespace": space, "setMetadata": change}, after
        )

    def _delete_ids(self, after: State, space: str, records: dict[str, Fields]) -> Operation:
        ids = self.dice.sample(sorted(records), self.dice.randint(1, min(4, len(records))))
        for id in ids:
            del records[id]
        return Operation("POST", "/vectors/delete", {"ids": ids, "namespace": space}, after)

    def _delete_some(self, after: State, space: str, records: dict[str, Fields]) -> Operation:
        tag = self.dice.choice(TAGS)
        after.records[space] = {id: fields for id, fields in records.items() if fields["tag"] != tag}
        return Operation("POST", "/vectors/delete", {"filter": self._mine(tag), "namespace": space}, after)

    def _clear(self, after: State, space: str, records: dict[str, Fields]) -> Operation:
        if space == "shared":  # others have records there
            return self._delete_ids(after, space, records)
        after.records[space] = {}
        if self.dice.random() < 0.5:
            return Operation("DELETE", f"/namespaces/{space}", None, after)
        return Operation("POST", "/vectors/delete", {"deleteAll": True, "namespace": space}, after)

    def _index(self, after: State, *_: object) -> Operation:
        name = f"index-{self.name}"
        if after.index is None:
            after.index = {"n": str(self.dice.randint(0, 99))}
            body = {"name": name, "dimension": 2, "spec": SPEC, "tags": after.index}
            return Operation("POST", "/indexes", body, after)
        if self.dice.random() < 0.5:
            after.index = {"n": str(self.dice.randint(100, 999))}
            return Operation("PATCH", f"/indexes/{name}", {"tags": after.index}, after)
        after.index = None
        return Operation("DELETE", f"/indexes/{name}", None, after)

    def _mine(self, tag: str) -> dict[str, Any]:
        return {"$and": [{"owner": self.name}, {"tag": tag}]}

    def begin(self) -> Operation:
        """The next operation, which is in flight from now on."""
        self.flying = self.next()
        return self.flying

    def acknowledged(self) -> None:
        """It was answered with success."""
        assert self.flying is not None
        self.known, self.flying = self.flying.after, None
        self.answered += 1

    def possible(self) -> list[State]:
        """What may be stored."""
        return [self.known] if self.flying is None else [self.known, self.flying.after]

    def compare(self, state: State) -> None:
        """Compare with what is stored, and go on from there."""
        self.check(state, self.possible())
        self.known, self.flying = state, None

    def check(self, state: State, possible: list[State]) -> None:
        """Fails if what is stored is none of what may be."""
        assert state in possible, f"{self.name}: {difference(state, possible)}"


def difference(state: State, possible: list[State]) -> str:
    """Where what is stored differs from what may be."""
    told = []
    for label, wanted in zip(("as answered", "with what was in flight"), possible, strict=False):
        if state.index != wanted.index:
            told.append(f"{label}: index {state.index}, not {wanted.index}")
        for space, records in wanted.records.items():
            stored = state.records[space]
            lost, extra = records.keys() - stored.keys(), stored.keys() - records.keys()
            other = [id for id in records.keys() & stored.keys() if records[id] != stored[id]]
            told.append(f"{label}, {space}: lost {sorted(lost)}, too many {sorted(extra)}, different {sorted(other)}")
    return "; ".join(told)


async def run(
    client: Client,
    http: httpx.AsyncClient,
    index: str = "",
    answered: Callable[[], None] = lambda: None,
    operations: int | None = None,
) -> None:
    """Operations, so many or until the server is gone.

    index: its URL, if not the server's. answered: called after each success.
    """
    for _ in itertools.count() if operations is None else range(operations):
        operation = client.begin()
        try:
            url = operation.path if operation.path.startswith("/indexes") else index + operation.path
            answer = await http.request(operation.method, url, json=operation.body)
        except httpx.HTTPError:
            return
        if answer.status_code == 503:  # refused, or failed: nothing of it may be there
            client.flying = None
            continue
        assert answer.status_code < 300, f"{operation.method} {operation.path}: {answer.status_code} {answer.text}"
        client.acknowledged()
        answered()


async def stored(http: httpx.AsyncClient, client: Client, index: str = "") -> State:
    """What is there of a client, by way of the server; each record must have the vector of its text."""
    records = {space: await _records(http, index, space, client.name) for space in client.known.records}
    answer = await http.get("/indexes")
    indexes = {index["name"]: index for index in answer.raise_for_status().json()["indexes"]}
    own = indexes.get(f"index-{client.name}")
    return State(records, None if own is None else own["tags"])


async def _records(http: httpx.AsyncClient, index: str, space: str, owner: str) -> dict[str, Fields]:
    records: dict[str, Fields] = {}
    body: dict[str, Any] = {"namespace": space, "filter": {"owner": owner}, "limit": 100}
    while True:
        page = (await http.post(f"{index}/vectors/fetch_by_metadata", json=body)).raise_for_status().json()
        for id, record in page["vectors"].items():
            records[id] = record["metadata"]
            values = np.array(record["values"], np.float32)
            wanted = HashEncoder(len(values), 512).encode([record["metadata"]["chunk_text"]], 512).vectors[0]
            assert np.allclose(values, wanted, atol=1e-6), f"{id} has not the vector of its text"
        if "pagination" not in page:
            return records
        body["paginationToken"] = page["pagination"]["next"]
