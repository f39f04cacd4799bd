"""What a key is not for it learns nothing of: not that it is there, not how much, not what is in it."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from pinyon.auth import keys
from pinyon.auth.keys import Limits

from tests.api.grpc_transport import asking
from tests.running import RunningServer, config, free_ports

MINE, SECRET, GONE = "mine", "secret-plans", "gone-plans"
SPEC = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
VECTOR = [1.0, 0.0]
PASSING = {"x-pinecone-request-id", "x-pinecone-request-latency-ms", "x-pinecone-response-duration-ms", "date"}


@pytest.fixture(params=["rest", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


class Where(NamedTuple):
    """An address, and the name under which it is asked."""

    url: str
    host: str = ""


class Site(NamedTuple):
    """A server with keys, and where an index is, was, or never was."""

    server: RunningServer
    keys: dict[str, str]
    places: dict[str, Where]


def ask(where: Where, protocol: str, key: str, method: str, path: str, body: Any = None) -> httpx.Response:
    with asking(where.url, protocol, key, where.host) as client:
        return client.request(method, path, json=body)


def keys_of(data: Path) -> dict[str, str]:
    limits = {
        "master": Limits(),
        "of mine": Limits(indexes=(MINE,)),
        "reads mine": Limits(("read",), (MINE,)),
        "writes mine": Limits(("write",), (MINE,)),
        "part of mine": Limits(indexes=(MINE,), namespaces=("some",)),
        "of nothing there": Limits(indexes=("not-yet",)),
        "writes": Limits(("write",)),
        "reads and writes": Limits(("read", "write")),
    }
    return {name: keys.create(data, name.replace(" ", "-"), limit) for name, limit in limits.items()}


@pytest.fixture(scope="module")
def by_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("by-port")
    made = keys_of(folder / "data")
    ports = free_ports(5)
    server = RunningServer(config(folder), folder / "data", "--index-ports", ports)
    places = {"the main port": Where(server.url), "a free port": Where(f"http://localhost:{ports.split('-')[1]}")}
    with httpx.Client(base_url=server.url, headers={"Api-Key": made["master"]}, timeout=60) as client:
        for name in (MINE, GONE, SECRET):
            answer = client.post("/indexes", json={"name": name, "dimension": 2, "spec": SPEC})
            places[name] = Where(answer.json()["host"])
        assert client.delete(f"/indexes/{GONE}").status_code == 202
    yield Site(server, made, places)
    assert server.stop() == 0, server.text


@pytest.fixture(scope="module")
def by_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("by-host")
    made = keys_of(folder / "data")
    server = RunningServer(config(folder), folder / "data", "--index-host", "{index}.indexes.localhost")
    names = (MINE, SECRET, GONE, "never-was")
    places = {name: Where(server.url, f"{name}.indexes.localhost") for name in names}
    places["the main port"] = Where(server.url)
    with httpx.Client(base_url=server.url, headers={"Api-Key": made["master"]}, timeout=60) as client:
        for name in (MINE, GONE, SECRET):
            assert client.post("/indexes", json={"name": name, "dimension": 2, "spec": SPEC}).status_code == 201
        assert client.delete(f"/indexes/{GONE}").status_code == 202
    yield Site(server, made, places)
    assert server.stop() == 0, server.text


@pytest.fixture(params=["by_port", "by_host"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(request.param)
    return found


QUESTIONS: list[tuple[str, str, Any]] = [
    ("GET", "/vectors/list", None),
    ("GET", "/vectors/fetch?ids=a", None),
    ("POST", "/query", {"vector": VECTOR, "topK": 1}),
    ("POST", "/query", {"vector": [1.0] * 7, "topK": 1}),
    ("POST", "/query", {"topK": 0}),
    ("POST", "/vectors/upsert", {"vectors": [{"id": "a", "values": VECTOR}]}),
    ("POST", "/vectors/update", {"id": "a", "values": VECTOR}),
    ("POST", "/vectors/delete", {"deleteAll": True}),
    ("POST", "/vectors/fetch_by_metadata", {"filter": {"a": 1}}),
    ("POST", "/describe_index_stats", {}),
    ("GET", "/namespaces", None),
    ("POST", "/namespaces", {"name": "a"}),
    ("GET", "/namespaces/some", None),
    ("DELETE", "/namespaces/some", None),
]
REST_ONLY: list[tuple[str, str, Any]] = [
    ("POST", "/records/namespaces/some/search", {"query": {"top_k": 1, "id": "a"}}),
    ("POST", "/records/namespaces/some/upsert", {"_id": "a", "text": "x"}),
    ("GET", "/bulk/imports", None),
    ("POST", "/vectors/update", {"vectors": "of no shape"}),
]


@pytest.mark.parametrize("key", ["of mine", "reads mine", "writes mine", "part of mine", "of nothing there"])
def test_what_is_outside_of_a_key_has_one_answer(site: Site, protocol: str, key: str) -> None:
    outside = [place for name, place in site.places.items() if name != MINE or key == "of nothing there"]
    assert len(outside) >= 4
    for question in QUESTIONS + (REST_ONLY if protocol == "rest" else []):
        answers = [ask(place, protocol, site.keys[key], *question) for place in outside]
        told = {(answer.status_code, answer.text, *sorted(answer.headers.keys() - PASSING)) for answer in answers}
        assert len(told) == 1, (question, told)
        assert answers[0].status_code == 403, question
        for word in ("secret", "gone", "quickstart", "never"):
            assert word not in answers[0].text


def test_one_that_is_for_everything_is_told_what_is_where(site: Site, protocol: str) -> None:
    for name, place in site.places.items():
        answer = ask(place, protocol, site.keys["master"], "GET", "/vectors/list")
        there = name in (MINE, SECRET, "the main port")
        assert answer.status_code == (200 if there else 404), (name, answer.text)


def test_one_that_is_for_an_index_reaches_it(site: Site, protocol: str) -> None:
    for key in ("of mine", "reads mine"):
        assert (
            ask(site.places[MINE], protocol, site.keys[key], "GET", "/vectors/list?namespace=some").status_code == 200
        )


CONTROL: list[tuple[str, str, Any]] = [
    ("GET", "/indexes/{name}", None),
    ("PATCH", "/indexes/{name}", {"tags": {"a": "b"}}),
    ("PATCH", "/indexes/{name}", {"nonsense": 1}),
    ("DELETE", "/indexes/{name}", None),
    ("POST", "/indexes", {"name": "{name}", "dimension": 2, "spec": SPEC}),
    ("POST", "/indexes/{name}/compact", None),
    ("POST", "/indexes/{name}/reembed", {"model": "pinyon-hash-embed"}),
    ("GET", "/indexes/{name}/reembed", None),
    ("DELETE", "/indexes/{name}/reembed", None),
    ("GET", "/indexes/{name}/backups", None),
    ("GET", "/indexes/{name}/backup-schedules", None),
]


@pytest.mark.parametrize("key", ["of mine", "reads mine", "writes mine", "part of mine", "of nothing there"])
@pytest.mark.parametrize(("method", "path", "body"), CONTROL, ids=[f"{c[0]} {c[1]} {n}" for n, c in enumerate(CONTROL)])
def test_the_control_plane_does_not_tell_whether_there_is_another_index(
    by_port: Site, key: str, method: str, path: str, body: Any
) -> None:
    told = set()
    for name in (SECRET, GONE, "never-was"):
        sent = {k: name if v == "{name}" else v for k, v in body.items()} if body else None
        answer = ask(by_port.places["the main port"], "rest", by_port.keys[key], method, path.format(name=name), sent)
        told.add((answer.status_code, answer.text.replace(name, "{name}")))
    assert len(told) == 1, told
    assert next(iter(told))[0] in (403, 404)


def test_lists_and_counts_are_of_what_a_key_is_for(by_port: Site) -> None:
    main = by_port.places["the main port"]
    for key, names in (("of mine", [MINE]), ("of nothing there", []), ("master", [MINE, "quickstart", SECRET])):
        listed = ask(main, "rest", by_port.keys[key], "GET", "/indexes").json()["indexes"]
        assert [index["name"] for index in listed] == names
        if key != "master":
            for path in ("/metrics", "/recall", "/ready", "/backups", "/restore-jobs", "/openapi.json"):
                assert "secret" not in ask(main, "rest", by_port.keys[key], "GET", path).text
    assert ask(main, "rest", "", "GET", "/ready").json().get("indexes") is None, "nobody in particular is told no names"


# A key that writes and does not read

SALARY, LARGE = 61_234, "x" * 30_000


@pytest.fixture
def secrets(by_port: Site, namespace: str) -> tuple[Where, str]:
    """Where the index is, and a namespace of it with three records."""
    place = by_port.places[SECRET]
    vectors = [
        {"id": "a", "values": VECTOR, "metadata": {"salary": SALARY}},
        {"id": "b", "values": VECTOR, "metadata": {"salary": 20_000, "long": LARGE}},
        {"id": "c", "values": VECTOR},
    ]
    body = {"vectors": vectors, "namespace": namespace}
    assert ask(place, "rest", by_port.keys["master"], "POST", "/vectors/upsert", body).status_code == 200
    return place, namespace


def told(
    site: Site, secrets: tuple[Where, str], protocol: str, path: str, body: dict[str, Any], key: str = "writes"
) -> list[Any]:
    """What a key learns by asking three times: the answers, and how the numbers of writes grow, its own between too."""
    place, namespace = secrets
    marker = {"vectors": [{"id": "marker", "values": VECTOR}], "namespace": namespace}
    answers, numbers = [], list[int]()
    for _ in range(3):
        answers.append(ask(place, protocol, site.keys[key], "POST", path, {**body, "namespace": namespace}))
        between = ask(place, protocol, site.keys[key], "POST", "/vectors/upsert", marker)
        assert between.status_code == 200, between.text
        numbers += [int(answer.headers.get("x-pinecone-request-lsn", 0)) for answer in (answers[-1], between)]
    grown = [later - former for former, later in itertools.pairwise(numbers)]
    if not all(numbers[::2]):  # an answer that has no number: between those of others it can be told all the same
        grown = [later - former for former, later in itertools.pairwise(numbers[1::2])]
    seen = [(answer.status_code, answer.text, *sorted(answer.headers.keys() - PASSING)) for answer in answers]
    return [seen, grown]


ABOVE, BELOW = {"salary": {"$gt": SALARY - 1}}, {"salary": {"$gt": SALARY}}
CONDITIONAL: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "update by a filter": (
        "/vectors/update",
        {"filter": ABOVE, "setMetadata": {"seen": True}},
        {"filter": BELOW, "setMetadata": {"seen": True}},
    ),
    "update that is only counted": (
        "/vectors/update",
        {"filter": ABOVE, "setMetadata": {"seen": True}, "dryRun": True},
        {"filter": BELOW, "setMetadata": {"seen": True}, "dryRun": True},
    ),
    "update by a filter that makes a record too large": (
        "/vectors/update",
        {"filter": {"long": {"$exists": True}}, "setMetadata": {"more": LARGE}},
        {"filter": {"nothing": {"$exists": True}}, "setMetadata": {"more": LARGE}},
    ),
    "update of fields by id": (
        "/vectors/update",
        {"id": "a", "setMetadata": {"seen": True}},
        {"id": "nobody", "setMetadata": {"seen": True}},
    ),
    "update of values by id": ("/vectors/update", {"id": "a", "values": VECTOR}, {"id": "nobody", "values": VECTOR}),
    "delete by a filter": ("/vectors/delete", {"filter": ABOVE}, {"filter": BELOW}),
    "delete by id": ("/vectors/delete", {"ids": ["a"]}, {"ids": ["nobody"]}),
    "delete of some": ("/vectors/delete", {"ids": ["a", "b", "c"]}, {"ids": ["nobody", "no", "body"]}),
    "upsert": (
        "/vectors/upsert",
        {"vectors": [{"id": "a", "values": VECTOR}]},
        {"vectors": [{"id": "nobody", "values": VECTOR}]},
    ),
}
"""What meets a record, and what meets none."""


@pytest.mark.parametrize("name", list(CONDITIONAL))
def test_a_key_that_only_writes_does_not_learn_what_it_met(
    by_port: Site, secrets: tuple[Where, str], protocol: str, name: str
) -> None:
    path, meets, misses = CONDITIONAL[name]
    found = told(by_port, secrets, protocol, path, meets)
    assert "salary" not in str(found)
    assert "'b'" not in str(found)
    assert "matched" not in str(found)
    assert found == told(by_port, secrets, protocol, path, misses)


def test_a_salary_cannot_be_found_by_halving(by_port: Site, secrets: tuple[Where, str], protocol: str) -> None:
    seen = set()
    for bound in (0, 30_000, SALARY - 1, SALARY, 90_000):
        body = {"filter": {"salary": {"$gte": bound}}, "setMetadata": {"seen": True}}
        seen.add(str(told(by_port, secrets, protocol, "/vectors/update", body)))
    assert len(seen) == 1


@pytest.mark.parametrize("path", ["/vectors/update", "/vectors/delete"])
def test_what_cannot_be_done_silently_is_not_done(
    by_port: Site, secrets: tuple[Where, str], protocol: str, path: str
) -> None:
    place, namespace = secrets
    change = {"setMetadata": {"seen": True}} if path == "/vectors/update" else {}
    body = {"filter": ABOVE, **change, "namespace": namespace}
    answer = ask(place, protocol, by_port.keys["writes"], "POST", path, body)
    fetched = ask(place, "rest", by_port.keys["master"], "GET", f"/vectors/fetch?ids=a&namespace={namespace}")
    after = fetched.json()["vectors"].get("a", {}).get("metadata")
    if answer.status_code == 403:
        assert "'read'" in answer.json()["message"], "it says what the key lacks"
        assert after == {"salary": SALARY}
    else:
        assert answer.status_code == 200
        assert after == ({"salary": SALARY, "seen": True} if path == "/vectors/update" else None)


def test_a_key_that_reads_too_is_told(by_port: Site, secrets: tuple[Where, str], protocol: str) -> None:
    place, namespace = secrets
    key = by_port.keys["reads and writes"]
    body = {"filter": ABOVE, "setMetadata": {"seen": True}, "namespace": namespace}
    answer = ask(place, protocol, key, "POST", "/vectors/update", body)
    assert (answer.status_code, answer.json()) == (200, {"matchedRecords": 1})
    body = {"filter": {"long": {"$exists": True}}, "setMetadata": {"more": LARGE}, "namespace": namespace}
    answer = ask(place, protocol, key, "POST", "/vectors/update", body)
    assert answer.status_code == 400
    assert "Vector 'b'" in answer.json()["message"]
