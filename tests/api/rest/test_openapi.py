"""The published OpenAPI document: Pinecone's names, and answers that keep to it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from app.api.rest.openapi import document
from tests.running import RunningServer

PINECONE = json.loads((Path(__file__).parent.parent.parent / "fixtures" / "pinecone_2025_10.json").read_text())
schema = schemathesis.openapi.from_dict(document())


@schemathesis.serializer("application/x-ndjson")
def ndjson(context: Any, value: Any) -> bytes:
    rows = value if isinstance(value, list) else [value]
    return b"\n".join(json.dumps(row).encode() for row in rows)


def test_it_is_served(client: httpx.Client) -> None:
    assert client.get("/openapi.json").json() == document()


def test_operations_have_pinecones_ids() -> None:
    found = {
        f"{method} {path}": operation["operationId"]
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }
    assert found == PINECONE["operations"]


OURS = {"NamespaceSummary": ["truncatedCount"]}
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
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_request_gets_a_declared_answer(
    case: Any, plain_servers: Callable[[str], RunningServer], hash_server: RunningServer
) -> None:
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    for server in (plain_servers("dotproduct"), hash_server):
        case.call_and_validate(base_url=server.url, checks=checks)
