"""The published OpenAPI document: Pinecone's names, and answers that keep to it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from pinyon.api.rest.openapi import document
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.examples import examples
from tests.running import RunningServer, config, free_ports

PINECONE = json.loads((Path(__file__).parent.parent.parent / "fixtures" / "pinecone_2025_10.json").read_text())
schema = schemathesis.openapi.from_dict(document())


@schemathesis.serializer("application/x-ndjson")
def ndjson(context: Any, value: Any) -> bytes:
    rows = value if isinstance(value, list) else [value]
    return b"\n".join(json.dumps(row).encode() for row in rows)


def test_it_is_served(client: httpx.Client) -> None:
    assert client.get("/openapi.json").json() == document()


CONTROL = {
    "list_indexes",
    "create_index",
    "create_index_for_model",
    "describe_index",
    "configure_index",
    "delete_index",
    "embed",
    "rerank",
    "list_models",
    "get_model",
}
"""Of Pinecone's other two documents, which the fixture does not have."""


def test_operations_have_pinecones_ids() -> None:
    found = {
        f"{method} {path}": operation["operationId"]
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }
    assert found.items() >= PINECONE["operations"].items()
    assert {operation for operation in found.values() if operation not in PINECONE["operations"].values()} == CONTROL


OURS = {"NamespaceSummary": ["foreignCount", "truncatedCount"]}
"""Properties that Pinyon adds, and says so in the README."""


@pytest.mark.parametrize("name", sorted(PINECONE["properties"]))
def test_schemas_have_pinecones_properties(name: str) -> None:
    found = document()["components"]["schemas"][name].get("properties", {})
    assert sorted(found) == sorted([*PINECONE["properties"][name], *OURS.get(name, [])])


def test_every_reference_has_a_schema() -> None:
    published = document()

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [r for inner in value.values() for r in references(inner)]
        return [r for inner in value for r in references(inner)] if isinstance(value, list) else []

    for reference in references(published["paths"]) + references(published["components"]):
        assert reference.rpartition("/")[2] in published["components"]["schemas"]


@schema.parametrize()
@settings(max_examples=examples(25), suppress_health_check=list(HealthCheck))
def test_any_request_gets_a_declared_answer(
    case: Any, plain_servers: Callable[[str], RunningServer], hash_server: RunningServer
) -> None:
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    for server in (plain_servers("dotproduct"), hash_server):
        case.call_and_validate(base_url=server.url, checks=checks, timeout=120)


@pytest.mark.slow
def test_what_answers_lead_to_is_answered_as_declared(tmp_path: Path) -> None:
    """Stateful: indexes and namespaces that were made are described, changed and deleted, in any order."""
    server = RunningServer(config(tmp_path), tmp_path / "data", "--index-ports", free_ports(20))
    http = server.client()
    machine = schemathesis.openapi.from_dict(document()).as_state_machine()

    class Links(machine):  # type: ignore[misc, valid-type]
        def setup(self) -> None:
            """Nothing of what the last run made is there, or runs could not be repeated."""
            for index in http.get("/indexes").json()["indexes"]:
                if index["name"] != "quickstart":
                    http.patch(f"/indexes/{index['name']}", json={"deletion_protection": "disabled"})
                    assert http.delete(f"/indexes/{index['name']}").status_code == 202
            for namespace in http.get("/namespaces").json()["namespaces"]:
                assert http.delete(f"/namespaces/{quote(namespace['name'], safe='')}").status_code == 200

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": server.url, "timeout": 120}

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.validate_response(
                response, checks=[not_a_server_error, status_code_conformance, response_schema_conformance]
            )

    run_state_machine_as_test(Links, settings=settings(max_examples=60, suppress_health_check=list(HealthCheck)))
    http.close()
    assert "unexpected" not in server.text
    assert server.stop() == 0
