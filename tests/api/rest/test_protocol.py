"""What is the same on every route: error bodies, status lines, health, the model list."""

import inspect
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute
from pinyon.api.rest.errors import STATUS, codes
from pinyon.errors import PinyonError

from tests.running import LEARNED_SPARSE, MULTILINGUAL, RunningServer, config

DATA = {"code", "message", "details"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, 5),
        ("POST", "/records/namespaces/x", 404, 5),
        ("GET", "/records/namespaces/x/upsert", 405, 12),
        ("DELETE", "/records/namespaces/x/search", 405, 12),
        ("POST", "/health", 405, 12),
        ("POST", "/namespaces/x", 405, 12),
    ],
)
def test_unknown_routes_and_methods_have_the_data_planes_body(
    client: httpx.Client, method: str, path: str, status: int, code: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == DATA
    assert answer.json()["code"] == code
    assert path in answer.json()["message"]
    if status == 405:
        assert "allow" in answer.headers


@pytest.mark.parametrize("verb", ["upsert", "search", "list"])
def test_the_documents_api_is_refused_as_what_it_is(client: httpx.Client, verb: str) -> None:
    answer = client.post(f"/namespaces/any/documents/{verb}", json={})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert "Documents API is not supported" in answer.json()["message"]


@pytest.mark.parametrize("path", ["/indexes/x", "/embed/x", "/models/nope"])
def test_control_plane_paths_have_the_control_planes_body(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    body = answer.json()
    assert body["status"] == 404
    assert body["error"]["code"] == "NOT_FOUND"
    assert body["error"]["message"]


def routes() -> list[tuple[str, str]]:
    """Every method and path of the API, with names filled in. tests/console has the pages."""
    from pinyon.asgi import rest_app
    from pinyon.console.paths import is_console
    from pinyon.server import Service
    from pinyon.services.control_plane.addresses import Addresses
    from pinyon.settings import Settings

    app = rest_app(Service(Settings(), Addresses("localhost", 5080)))
    return [
        (method, re.sub(r"\{\w+:str\}", "none", route.path))
        for route in app.routes
        if route.path != "/" and not is_console(route.path)
        for method in sorted(route.methods - {"OPTIONS"})
    ]


UNREFUSABLE = {"/health", "/ready", "/recall", "/openapi.json"}
CONTROL = ("/models", "/indexes", "/collections", "/backups", "/backup-schedules", "/restore-jobs", "/embed", "/rerank")
ALWAYS_ANSWERED = (
    "/describe_index_stats",
    "/indexes",
    "/collections",
    "/metrics",
)


@pytest.mark.parametrize(("method", "path"), [route for route in routes() if route[1] not in UNREFUSABLE])
def test_every_route_refuses_in_the_shape_of_its_plane(client: httpx.Client, method: str, path: str) -> None:
    # A body and parameters that fit no route, or a name that does not exist.
    answer = client.request(method, path, params={"limit": "0", "type": "x"}, content=b'{"namespace": 3, "name": 3')
    if method == "GET" and path in ALWAYS_ANSWERED:
        assert answer.status_code == 200
        return
    assert answer.status_code in (400, 404, 422) or (method, path) == ("POST", "/namespaces/none"), answer.text
    if path.startswith(CONTROL):
        assert set(answer.json()) == {"error", "status"}
        assert set(answer.json()["error"]) == {"code", "message"}
    else:
        assert set(answer.json()) == DATA


def test_every_error_class_has_codes() -> None:
    def family(kind: type[PinyonError]) -> list[type[PinyonError]]:
        return [kind, *(k for child in kind.__subclasses__() for k in family(child))]

    for kind in family(PinyonError)[1:]:
        assert any(parent in STATUS for parent in kind.__mro__), kind
    assert codes(next(iter(STATUS))("x")) == (400, 3)


def test_the_status_line_has_a_reason(hash_server: RunningServer) -> None:
    host, _, port = hash_server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /nope HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 404 Not Found\r\n")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "127.0.0.1:80"}, 200),
        ({"Host": "[::1]:5080"}, 200),
        ({"Host": "index-1.localhost"}, 200),
        ({"Host": "attacker.example"}, 403),
        ({"Host": "localhost.attacker.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "["}, 403),
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Host": "localhost:5080", "Origin": "http://localhost:5080"}, 200),
    ],
)
def test_without_keys_only_programs_on_this_machine_are_served(
    client: httpx.Client, headers: dict[str, str], status: int
) -> None:
    answer = client.get("/health", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == 7
        assert "--insecure" in answer.json()["message"] or "cors_origins" in answer.json()["message"]
        assert "x-pinecone-request-id" in answer.headers


def test_pages_of_listed_origins_are_served(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text('[server]\ncors_origins = ["https://app.example"]\n' + path.read_text())
    server = RunningServer(path, tmp_path / "data")
    with server.client() as client:
        preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        answer = client.options("/query", headers=preflight)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert client.get("/health", headers={"Origin": "https://app.example"}).status_code == 200
        assert client.get("/health", headers={"Origin": "https://other.example"}).status_code == 403
    assert server.stop() == 0


@pytest.mark.parametrize("path", ["/%72eady", "/models/all%2DMiniLM-L6-v2"])
def test_any_spelling_of_a_path_is_that_path(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_health_and_ready(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "alive"}
    ready = client.get("/ready").json()
    assert ready["status"] == "ready"
    assert ready["indexes"]["quickstart"] == "ready"


def models(client: httpx.Client, **filters: str) -> dict[str, Any]:
    return {m["model"]: m for m in client.get("/models", params=filters).json()["models"]}


def test_the_model_list_says_who_answers(client: httpx.Client) -> None:
    found = models(client)
    assert found["all-MiniLM-L6-v2"]["served_by"] == "all-MiniLM-L6-v2"
    assert found["multilingual-e5-large"]["served_by"] == f"{MULTILINGUAL}; stand-in-for=multilingual-e5-large"
    assert found["multilingual-e5-large"]["default_dimension"] == 1024
    assert (
        found["pinecone-sparse-english-v0"]["served_by"] == f"{LEARNED_SPARSE}; stand-in-for=pinecone-sparse-english-v0"
    )
    assert "default_dimension" not in found["pinecone-sparse-english-v0"]
    assert "vector_type" not in found["bge-reranker-v2-m3"]
    assert client.get("/models/bge-reranker-v2-m3").json() == found["bge-reranker-v2-m3"]


SPARSE = {"pinecone-sparse-english-v0", "splade-tiny", "pinyon-bm25"}


def test_the_model_list_can_be_filtered(client: httpx.Client) -> None:
    assert {m["type"] for m in models(client, type="rerank").values()} == {"rerank"}
    assert set(models(client, type="embed", vector_type="sparse")) == SPARSE
    for wrong in ({"type": "x"}, {"vector_type": "x"}, {"type": "rerank", "vector_type": "dense"}):
        answer = client.get("/models", params=wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_ARGUMENT")


def test_recall_is_a_list_of_what_was_sampled(client: httpx.Client) -> None:
    answer = client.get("/recall")
    assert (answer.status_code, answer.json()) == (200, [])


def test_a_request_needs_no_other_thread_and_no_task_of_its_own_to_reach_its_handler() -> None:
    from pinyon.asgi import rest_app
    from pinyon.server import Service
    from pinyon.services.control_plane.addresses import Addresses
    from pinyon.settings import Settings

    app = rest_app(Service(Settings(), Addresses("localhost", 5080)))
    batches = 0
    for route in app.routes:
        for handler, model in route.route_handler_map.values() if isinstance(route, HTTPRoute) else ():
            assert inspect.iscoroutinefunction(handler.resolve_before_request()), route.path
            assert all(len(batch) == 1 for batch in model.dependency_batches), route.path
            batches += len(model.dependency_batches)
    assert batches > 50
