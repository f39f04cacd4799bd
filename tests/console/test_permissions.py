"""Every page and every key: a page shows and does what the key is for, and nothing else."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from pinyon.auth import keys

from tests.console.conftest import Browser
from tests.console.operations import CONSOLE, Operation
from tests.running import RunningServer, config

MASTER, MINE, OTHER = "the-master-key", "mine", "other"
LIMITS = [
    keys.Limits(scopes, indexes, namespaces)
    for scopes, indexes, namespaces in [
        *(((scope,), None, None) for scope in ("read", "write", "control")),
        (("read", "write", "control"), None, None),
        (("read", "write", "control"), (MINE,), None),
        (("read", "write"), (MINE,), (MINE,)),
    ]
]


class Site(msgspec.Struct):
    """A server with two indexes that have the same namespaces, and a browser for each key."""

    url: str
    browsers: list[tuple[keys.Limits, Browser]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pages")
    server = RunningServer(config(folder), folder / "data", "--api-key", MASTER, "--index-ports", "free:4")
    with httpx.Client(headers={"Api-Key": MASTER}, timeout=60) as client:
        for name in (MINE, OTHER):
            body = {"name": name, "dimension": 2, "spec": {"serverless": {"cloud": "aws", "region": "us-east-1"}}}
            made = client.post(f"{server.url}/indexes", json=body).raise_for_status().json()
            for namespace in (MINE, OTHER):
                record = {"id": "r1", "values": [1, 0], "metadata": {"secret": f"secret-of-{name}-{namespace}"}}
                url = f"http://{made['host'].removeprefix('http://')}/vectors/upsert"
                client.post(url, json={"vectors": [record], "namespace": namespace}).raise_for_status()
    browsers = []
    for number, limits in enumerate(LIMITS):
        browser = Browser(base_url=server.url, timeout=60)
        browser.submit("/console/login", key=keys.create(Path(folder / "data"), f"key-{number}", limits))
        browsers.append((limits, browser))
    yield Site(server.url, browsers)
    for _, browser in browsers:
        browser.close()
    assert server.stop() == 0, server.text


def may(limits: keys.Limits, operation: Operation, index: str, namespace: str) -> bool:
    if operation.scope not in limits.scopes or (operation.also and operation.also not in limits.scopes):
        return False
    if operation.whole and (limits.indexes is not None or limits.namespaces is not None):
        return False
    if operation.every_namespace and limits.namespaces is not None:
        return False
    return not (
        ("{ix}" in str(operation) and limits.indexes is not None and index not in limits.indexes)
        or ("{ns}" in str(operation) and limits.namespaces is not None and namespace not in limits.namespaces)
    )


def filled(text: str, names: dict[str, str]) -> str:
    for place, name in names.items():
        text = text.replace(place, name)
    return text


@pytest.mark.parametrize("name", CONSOLE)
def test_a_page_shows_what_the_key_is_for(site: Site, name: str) -> None:
    for operation, (limits, browser), index, namespace in itertools.product(
        CONSOLE[name], site.browsers, (MINE, OTHER), (MINE, OTHER)
    ):
        names = {"{ix}": index, "{ns}": namespace}
        if operation.method == "GET":
            answer = browser.get(filled(operation.path, names))
        else:
            form = {field: filled(value, names) for field, value in (operation.form or {}).items()}
            answer = browser.submit(filled(operation.path, names), page="/console/login", **form)
        allowed = may(limits, operation, index, namespace)
        assert (answer.status_code != 403) == allowed, (operation, limits, index, namespace, answer.status_code)
        for ix, ns in itertools.product((MINE, OTHER), (MINE, OTHER)):
            sees = "read" in limits.scopes and ix in (limits.indexes or (ix,)) and ns in (limits.namespaces or (ns,))
            assert sees or f"secret-of-{ix}-{ns}" not in answer.text
