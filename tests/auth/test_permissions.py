"""What API keys may do: every operation of both protocols with every kind of key; nothing else is readable or changeable."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import msgspec
import pytest
from google.protobuf.json_format import ParseDict
from pinyon.api.grpc import vector_service_pb2 as pb
from pinyon.api.grpc.service import VectorService
from pinyon.asgi import rest_app
from pinyon.auth import keys
from pinyon.auth.scopes import SCOPES
from pinyon.server import Service
from pinyon.services.control_plane.addresses import Addresses
from pinyon.settings_loader import load

from tests.api.grpc_transport import method
from tests.console.operations import CONSOLE, PUBLIC_PAGES
from tests.running import RunningServer, config, free_ports

MINE, OTHER = "mine", "secret"
VECTOR = [1.0] + [0.0] * 63
SERVERLESS = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
EMBED = {"model": "pinyon-hash-embed", "field_map": {"text": "chunk_text"}}
BACKUP_SCHEDULE = {"name": "nightly", "schedule": {"frequency": "daily"}, "retention": {"expire_after_days": 1}}


class Operation(NamedTuple):
    """scope: what it takes, joined by "+"; None: any key. destroys: not to be tried by who may."""

    scope: str | None
    method: str
    path: str
    body: Any = None
    of: str = "namespace"
    destroys: bool = False


# {ns} and {ix} stand for the namespace and the index that are tried.
REST: dict[str, list[Operation]] = {
    "upsertRecordsNamespace": [
        Operation("write", "POST", "/records/namespaces/{ns}/upsert", {"_id": "x", "chunk_text": "hello"})
    ],
    "searchRecordsNamespace": [
        Operation(
            "read", "POST", "/records/namespaces/{ns}/search", {"query": {"inputs": {"text": "hello"}, "top_k": 9}}
        ),
        Operation("read", "POST", "/records/namespaces/{ns}/search", {"query": {"id": "kept", "top_k": 9}}),
    ],
    "pinyon_count_facets": [Operation("read", "POST", "/records/namespaces/{ns}/facets", {"field": "n"})],
    "upsertVectors": [
        Operation("write", "POST", "/vectors/upsert", {"namespace": "{ns}", "vectors": [{"id": "x", "values": VECTOR}]})
    ],
    "pinyon_check_vectors": [
        Operation("write", "POST", "/vectors/check", {"vectors": [{"id": "x", "values": VECTOR}]}, of="index")
    ],
    "pinyon_check_records": [
        Operation("write", "POST", "/records/check", {"_id": "x", "chunk_text": "hello"}, of="index")
    ],
    "queryVectors": [
        Operation("read", "POST", "/query", {"namespace": "{ns}", "vector": VECTOR, "topK": 9, "includeMetadata": True})
    ],
    "fetchVectors": [Operation("read", "GET", "/vectors/fetch?ids=kept&namespace={ns}")],
    "fetch_vectors_by_metadata": [
        Operation("read", "POST", "/vectors/fetch_by_metadata", {"namespace": "{ns}", "filter": {"n": 1}})
    ],
    "listVectors": [Operation("read", "GET", "/vectors/list?namespace={ns}")],
    "updateVector": [
        Operation("write", "POST", "/vectors/update", {"namespace": "{ns}", "id": "x", "values": VECTOR}),
        Operation("write+read", "POST", "/vectors/update", {"namespace": "{ns}", "id": "x", "setMetadata": {"m": 1}}),
        Operation(
            "read",
            "POST",
            "/vectors/update",
            {"namespace": "{ns}", "filter": {"n": 1}, "setMetadata": {"m": 1}, "dryRun": True},
        ),
    ],
    "deleteVectors": [
        Operation("write", "POST", "/vectors/delete", {"namespace": "{ns}", "ids": ["nothing"]}),
        Operation("write", "POST", "/vectors/delete", {"namespace": "{ns}", "deleteAll": True}, destroys=True),
    ],
    "deleteVectorsByDelete": [
        Operation("write", "DELETE", "/vectors/delete", {"namespace": "{ns}", "ids": ["nothing"]})
    ],
    "describeIndexStats": [Operation("read", "POST", "/describe_index_stats", {}, of="index")],
    "describeIndexStatsByGet": [Operation("read", "GET", "/describe_index_stats", of="index")],
    "listNamespacesOperation": [Operation("read", "GET", "/namespaces", of="index")],
    "createNamespace": [Operation("write+read", "POST", "/namespaces", {"name": "{ns}"})],
    "describeNamespace": [Operation("read", "GET", "/namespaces/{ns}")],
    "deleteNamespace": [Operation("write", "DELETE", "/namespaces/{ns}", destroys=True)],
    "list_indexes": [Operation(None, "GET", "/indexes", of="server")],
    "describe_index": [Operation(None, "GET", "/indexes/{ix}", of="index")],
    "configure_index": [Operation("control", "PATCH", "/indexes/{ix}", {"tags": {"a": "b"}}, of="whole index")],
    "delete_index": [Operation("control", "DELETE", "/indexes/{ix}", of="whole index", destroys=True)],
    "create_index": [
        Operation("control", "POST", "/indexes", {"name": "{ix}", "dimension": 2, "spec": SERVERLESS}, of="whole index")
    ],
    "create_index_for_model": [
        Operation(
            "control",
            "POST",
            "/indexes/create-for-model",
            {"name": "{ix}", "cloud": "aws", "region": "us-east-1", "embed": EMBED},
            of="whole index",
        )
    ],
    "pinyon_reembed": [
        Operation("control", "POST", "/indexes/{ix}/reembed", {"model": "pinyon-hash-embed"}, of="whole index")
    ],
    "pinyon_reembedding": [Operation(None, "GET", "/indexes/{ix}/reembed", of="whole index")],
    "pinyon_cancel_reembedding": [Operation("control", "DELETE", "/indexes/{ix}/reembed", of="whole index")],
    "pinyon_compact": [Operation("control", "POST", "/indexes/{ix}/compact", of="whole index")],
    "embed": [
        Operation("read", "POST", "/embed", {"model": "pinyon-hash-embed", "inputs": [{"text": "hello"}]}, of="server")
    ],
    "pinyon_count_tokens": [
        Operation(
            "read",
            "POST",
            "/embed/count-tokens",
            {"model": "pinyon-hash-embed", "inputs": [{"text": "a"}], "parameters": {"input_type": "passage"}},
            of="server",
        )
    ],
    "rerank": [
        Operation("read", "POST", "/rerank", {"model": "bm25", "query": "a", "documents": [{"text": "a"}]}, of="server")
    ],
    "metrics": [Operation("read", "GET", "/metrics", of="everything")],
    "recall": [Operation("read", "GET", "/recall", of="server")],
    "list_project_backups": [Operation("read", "GET", "/backups", of="server")],
    "list_restore_jobs": [Operation("read", "GET", "/restore-jobs", of="server")],
    "list_index_backups": [Operation("read", "GET", "/indexes/{ix}/backups", of="index")],
    "describe_backup": [Operation("read", "GET", "/backups/none", of="server")],
    "pinyon_backup_namespaces": [Operation("read", "GET", "/backups/none/namespaces", of="server")],
    "pinyon_backup_records": [Operation("read", "POST", "/backups/none/records", {}, of="server")],
    "describe_restore_job": [Operation("read", "GET", "/restore-jobs/none", of="server")],
    "create_backup": [Operation("control", "POST", "/indexes/{ix}/backups", {}, of="whole index")],
    "delete_backup": [Operation("control", "DELETE", "/backups/none", of="whole server")],
    "create_index_from_backup_operation": [
        Operation("control", "POST", "/backups/none/create-index", {"name": "new"}, of="whole server")
    ],
    "create_backup_schedule": [
        Operation("control", "POST", "/indexes/{ix}/backup-schedules", BACKUP_SCHEDULE, of="whole index")
    ],
    "list_backup_schedules": [Operation("read", "GET", "/indexes/{ix}/backup-schedules", of="index")],
    "describe_backup_schedule": [Operation("read", "GET", "/backup-schedules/none", of="server")],
    "update_backup_schedule": [Operation("control", "PATCH", "/backup-schedules/none", {}, of="whole server")],
    "delete_backup_schedule": [Operation("control", "DELETE", "/backup-schedules/none", of="whole server")],
    "list_backup_schedule_history": [Operation("read", "GET", "/backup-schedules/none/history", of="server")],
    "startBulkImport": [Operation("write", "POST", "/bulk/imports", {"uri": "/nowhere/{ns}"}, of="whole index")],
    "listBulkImports": [Operation("read", "GET", "/bulk/imports", of="whole index")],
    "describeBulkImport": [Operation("read", "GET", "/bulk/imports/none", of="whole index")],
    "cancelBulkImport": [Operation("write", "DELETE", "/bulk/imports/none", of="whole index")],
}
PUBLIC = {"health", "ready"}
TELLS_NOTHING = {
    "openapi",
    "list_models",
    "get_model",
    "list_collections",
    "create_collection",
    "describe_collection",
    "delete_collection",
    "documents",
}
"""They answer the same to every key."""


def fetch_by_metadata(namespace: str) -> pb.FetchByMetadataRequest:
    return ParseDict({"namespace": namespace, "filter": {"n": 1}}, pb.FetchByMetadataRequest())


GRPC: dict[str, list[tuple[str, Callable[[str], Any], bool]]] = {
    "Upsert": [("write", lambda ns: pb.UpsertRequest(namespace=ns, vectors=[pb.Vector(id="x", values=VECTOR)]), True)],
    "Delete": [("write", lambda ns: pb.DeleteRequest(namespace=ns, ids=["nothing"]), True)],
    "Fetch": [("read", lambda ns: pb.FetchRequest(namespace=ns, ids=["kept"]), True)],
    "FetchByMetadata": [("read", lambda ns: fetch_by_metadata(ns), True)],
    "List": [("read", lambda ns: pb.ListRequest(namespace=ns), True)],
    "Query": [("read", lambda ns: pb.QueryRequest(namespace=ns, vector=VECTOR, top_k=9), True)],
    "Update": [("write", lambda ns: pb.UpdateRequest(namespace=ns, id="x", values=VECTOR), True)],
    "DescribeIndexStats": [("read", lambda ns: pb.DescribeIndexStatsRequest(), False)],
    "ListNamespaces": [("read", lambda ns: pb.ListNamespacesRequest(), False)],
    "DescribeNamespace": [("read", lambda ns: pb.DescribeNamespaceRequest(namespace=ns), True)],
    "CreateNamespace": [("write+read", lambda ns: pb.CreateNamespaceRequest(name=ns), True)],
    "DeleteNamespace": [("write", lambda ns: pb.DeleteNamespaceRequest(namespace=ns), True)],
}
"""Scope, request, and whether it is for one namespace."""

KEYS = [
    keys.Limits(scopes, indexes, namespaces)
    for size in (1, 2, 3)
    for scopes in itertools.combinations(SCOPES, size)
    for indexes in (None, (MINE,))
    for namespaces in (None, (MINE,))
]


class Site(NamedTuple):
    """A server, the URLs of its two indexes, the key with every right, and the others."""

    server: RunningServer
    urls: dict[str, str]
    master: str
    made: list[tuple[keys.Limits, str]]
    http: httpx.Client

    def ask(self, key: str, method: str, url: str, body: Any = None) -> httpx.Response:
        return self.http.request(method, url, json=body, headers={"Api-Key": key})

    def secrets(self) -> Any:
        """Everything that only the master key may see, or anybody outside may change."""
        found = []
        for index, url in self.urls.items():
            for namespace in (MINE, OTHER):
                if OTHER in (index, namespace):
                    body = {"namespace": namespace, "filter": {"n": {"$exists": True}}, "limit": 100}
                    answer = self.ask(self.master, "POST", f"{url}/vectors/fetch_by_metadata", body)
                    found.append(answer.raise_for_status().json()["vectors"])
        found.append(self.ask(self.master, "GET", f"{self.server.url}/indexes/{OTHER}").json())
        return msgspec.json.encode(found, order="sorted")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("keys")
    data = folder / "data"
    master = keys.create(data, "master")
    made = [(limits, keys.create(data, f"key-{n}", limits)) for n, limits in enumerate(KEYS)]
    settings = config(folder, more='\n[import]\nallow = ["/nowhere"]\n')
    server = RunningServer(settings, data, "--index-ports", free_ports(4))
    found = Site(server, {}, master, made, httpx.Client(timeout=120))
    for name in (MINE, OTHER):
        body = {"name": name, "cloud": "aws", "region": "us-east-1", "embed": EMBED}
        host = found.ask(master, "POST", f"{server.url}/indexes/create-for-model", body).json()["host"]
        found.urls[name] = host
        for namespace in (MINE, OTHER):
            record = {"_id": "kept", "chunk_text": f"a text of {name} {namespace}", "n": 1}
            assert found.ask(master, "POST", f"{host}/records/namespaces/{namespace}/upsert", record).status_code == 201
    yield found
    found.http.close()
    assert server.stop() == 0, server.text


def filled(value: Any, index: str, namespace: str) -> Any:
    text = json.dumps(value).replace("{ns}", namespace).replace("{ix}", index)
    return json.loads(text)


def may(limits: keys.Limits, scope: str | None, of: str, index: str, namespace: str) -> bool:
    """The rule, once more, readable."""
    if scope is not None and not set(scope.split("+")) <= set(limits.scopes):
        return False
    if of == "everything" and (limits.indexes or limits.namespaces):
        return False
    if of not in ("server", "whole server") and limits.indexes is not None and index not in limits.indexes:
        return False
    if of == "namespace" and limits.namespaces is not None and namespace not in limits.namespaces:
        return False
    return not (of in ("whole index", "whole server") and limits.namespaces is not None)


def test_every_operation_is_in_the_tables(tmp_path: Path) -> None:
    service = Service(load(config(tmp_path), {}, {"data_dir": str(tmp_path)}), Addresses("localhost", 1))
    try:
        there = {
            handler.operation_id
            for route in rest_app(service).routes
            for handler in getattr(route, "route_handlers", [])
            if handler.operation_id is not None
        }
    finally:
        service.executor.close(1)
    assert there == set(REST) | PUBLIC | TELLS_NOTHING | set(CONSOLE) | PUBLIC_PAGES
    methods = VectorService(None, None).methods  # type: ignore[arg-type]
    assert set(methods) == set(GRPC)


@pytest.mark.parametrize("name", sorted(REST))
def test_over_rest_a_key_does_what_it_is_for_and_nothing_else(site: Site, name: str) -> None:
    before = site.secrets()
    tried = 0
    for operation in REST[name]:
        for (limits, key), index, namespace in itertools.product(site.made, (MINE, OTHER), (MINE, OTHER)):
            allowed = may(limits, operation.scope, operation.of, index, namespace)
            outside = OTHER in (index, namespace)
            if allowed and (operation.destroys or (outside and operation.scope != "read")):
                continue
            base = (
                site.server.url
                if operation.path.startswith(("/indexes", "/embed", "/rerank", "/recall", "/metrics"))
                else ""
            )
            url = (base or site.urls[index]) + filled(operation.path, index, namespace)
            answer = site.ask(key, operation.method, url, filled(operation.body, index, namespace))
            assert (answer.status_code == 403) == (not allowed), (limits, index, namespace, answer.text)
            assert answer.status_code < 500, answer.text
            if limits.indexes and limits.namespaces and not outside:
                assert OTHER not in answer.text, "what is outside is not even named"
            tried += 1
    assert tried >= len(KEYS)
    assert site.secrets() == before


@pytest.mark.parametrize("name", sorted(GRPC))
def test_over_grpc_a_key_does_what_it_is_for_and_nothing_else(site: Site, name: str) -> None:
    before = site.secrets()
    methods = VectorService(None, None).methods  # type: ignore[arg-type]
    for index, url in site.urls.items():
        with grpc.insecure_channel(url.removeprefix("http://")) as channel:
            for (scope, request, one), (limits, key), namespace in itertools.product(
                GRPC[name], site.made, (MINE, OTHER)
            ):
                allowed = may(limits, scope, "namespace" if one else "index", index, namespace)
                outside = OTHER in (index, namespace)
                if allowed and (name == "DeleteNamespace" or (outside and scope != "read")):
                    continue
                call = method(channel, name, methods[name][0], ANSWERS.get(name, pb.DeleteResponse))
                try:
                    reply = str(call(request(namespace), metadata=[("api-key", key)]))
                    code = grpc.StatusCode.OK
                except grpc.RpcError as error:
                    reply, code = str(error.details()), error.code()
                assert (code == grpc.StatusCode.PERMISSION_DENIED) == (not allowed), (limits, index, namespace, reply)
                assert code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
                if limits.indexes and limits.namespaces and not outside:
                    assert OTHER not in reply
    assert site.secrets() == before


ANSWERS = {
    "Upsert": pb.UpsertResponse,
    "Fetch": pb.FetchResponse,
    "FetchByMetadata": pb.FetchByMetadataResponse,
    "List": pb.ListResponse,
    "Query": pb.QueryResponse,
    "Update": pb.UpdateResponse,
    "DescribeIndexStats": pb.DescribeIndexStatsResponse,
    "ListNamespaces": pb.ListNamespacesResponse,
    "DescribeNamespace": pb.NamespaceDescription,
    "CreateNamespace": pb.NamespaceDescription,
}


def test_counts_and_lists_are_of_what_the_key_is_for(site: Site) -> None:
    key = next(key for limits, key in site.made if limits == keys.Limits(("read",), (MINE,), (MINE,)))
    stats = site.ask(key, "GET", f"{site.urls[MINE]}/describe_index_stats").json()
    assert list(stats["namespaces"]) == [MINE]
    assert stats["totalVectorCount"] == stats["namespaces"][MINE]["vectorCount"]
    listed = site.ask(key, "GET", f"{site.urls[MINE]}/namespaces").json()
    assert ([one["name"] for one in listed["namespaces"]], listed["total_count"]) == ([MINE], 1)
    assert [one["name"] for one in site.ask(key, "GET", f"{site.server.url}/indexes").json()["indexes"]] == [MINE]


WRITES: list[tuple[str, str, Any, Any]] = [
    ("POST", "/vectors/update", {"id": "kept", "values": VECTOR}, {"id": "none", "values": VECTOR}),
    ("POST", "/vectors/update", {"id": "kept", "setMetadata": {"m": 1}}, {"id": "none", "setMetadata": {"m": 1}}),
    (
        "POST",
        "/vectors/update",
        {"id": "kept", "setMetadata": {"m": "x" * 40_900}},
        {"id": "none", "setMetadata": {"m": "x" * 40_900}},
    ),
    ("POST", "/vectors/delete", {"ids": ["kept"]}, {"ids": ["none"]}),
    ("POST", "/vectors/delete", {"ids": ["kept"], "namespace": MINE}, {"ids": ["kept"], "namespace": "nowhere"}),
    ("POST", "/vectors/delete", {"deleteAll": True, "namespace": MINE}, {"deleteAll": True, "namespace": "nowhere"}),
    ("POST", "/namespaces", {"name": MINE}, {"name": "nowhere"}),
    ("DELETE", "/namespaces/{}", MINE, "nowhere"),
]


class Written(NamedTuple):
    """A server with a key that only writes, and one for everything."""

    url: str
    write: str
    master: str


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    folder = tmp_path_factory.mktemp("written")
    data = folder / "data"
    write, master = keys.create(data, "write", keys.Limits(("write",))), keys.create(data, "master")
    server = RunningServer(config(folder), data)
    yield Written(server.url, write, master)
    assert server.stop() == 0, server.text


@pytest.mark.parametrize(("verb", "path", "there", "absent"), WRITES, ids=[f"{w[1]} {w[2]}"[:60] for w in WRITES])
def test_a_key_that_only_writes_is_not_told_what_there_is(
    written: Written, verb: str, path: str, there: Any, absent: Any
) -> None:
    master = {"Api-Key": written.master}
    with httpx.Client(base_url=written.url, timeout=60) as client:
        client.delete("/namespaces/nowhere", headers=master)  # an earlier case may have made it
        for namespace in ("__default__", MINE):
            record = {"_id": "kept", "chunk_text": "hello", "n": 1}
            answer = client.post(f"/records/namespaces/{namespace}/upsert", json=record, headers=master)
            before = int(answer.raise_for_status().headers["x-pinecone-request-lsn"])
        told = []
        for body in (absent, there):
            named = isinstance(body, str)
            answer = client.request(
                verb, path.format(body), json=None if named else body, headers={"Api-Key": written.write}
            )
            lsn = {name: value for name, value in answer.headers.items() if "lsn" in name}
            assert set(lsn.values()) == ({str(before + 1 + len(told))} if answer.status_code == 200 else set())
            told.append((answer.status_code, answer.content, set(lsn)))
        assert told[0] == told[1]


def test_a_key_with_a_rate_is_told_when_to_come_again(site: Site) -> None:
    limits = keys.Limits(per_second=0.01)
    key = keys.create(Path(site.server.text.split("data     ")[1].splitlines()[0]), "slow", limits)
    answers = [site.ask(key, "GET", f"{site.server.url}/indexes") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert answers[1].json() == {
        "error": {"code": "RESOURCE_EXHAUSTED", "message": "This API key may send 0.01 requests per second"},
        "status": 429,
    }
    assert 90 <= int(answers[1].headers["retry-after"]) <= 100
    assert site.ask(site.master, "GET", f"{site.server.url}/indexes").status_code == 200, "the others are not affected"


def test_a_key_may_come_as_a_bearer_token(site: Site) -> None:
    for sent, status in ((f"Bearer {site.master}", 200), ("Bearer wrong", 401), (f"Basic {site.master}", 401)):
        answer = site.http.get(f"{site.server.url}/indexes", headers={"Authorization": sent})
        assert answer.status_code == status
