"""Two applications on one database: what is done to an index at one holds at the other at once."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.postgres.two_services import Site, running

pytestmark = pytest.mark.anyio
SPEC = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
NEW = {"name": "new", "dimension": 2, "metric": "cosine", "spec": SPEC}
VECTORS = {"vectors": [{"id": "a", "values": [1, 0]}]}


async def ask(site: Site, method: str, path: str, body: Any = None) -> httpx.Response:
    """A request for the index `new`."""
    return await site.http.request(method, path, json=body, headers={"Host": "new.localhost"})


async def test_an_index_that_one_has_made_changed_or_deleted_is_so_at_the_other(tmp_path: Path) -> None:
    async with running(tmp_path) as one, running(tmp_path) as other:
        assert (await ask(other, "GET", "/indexes/new")).status_code == 404
        made = await ask(one, "POST", "/indexes", NEW)
        assert made.status_code == 201, made.text
        seen = (await ask(other, "GET", "/indexes/new")).json()
        assert (seen["host"], seen["status"]) == (made.json()["host"], {"ready": True, "state": "Ready"})
        assert (await ask(other, "POST", "/vectors/upsert", VECTORS)).json() == {"upsertedCount": 1}
        assert (await ask(one, "POST", "/describe_index_stats", {})).json()["totalVectorCount"] == 1

        protected = await ask(one, "PATCH", "/indexes/new", {"deletion_protection": "enabled"})
        assert protected.status_code == 200, protected.text
        assert (await ask(other, "DELETE", "/indexes/new")).status_code == 403
        tags = [
            await ask(site, "PATCH", "/indexes/new", {"tags": {name: "1"}}) for site, name in ((one, "a"), (other, "b"))
        ]
        assert [answer.status_code for answer in tags] == [200, 200]
        assert tags[1].json()["tags"] == {"a": "1", "b": "1"}, "no change undoes another one"
        await ask(other, "PATCH", "/indexes/new", {"deletion_protection": "disabled"})

        while (deleted := await ask(one, "DELETE", "/indexes/new")).status_code == 403:
            pass  # it hears within a second that the protection has ended
        assert deleted.status_code == 202
        assert (await ask(other, "POST", "/vectors/upsert", VECTORS)).status_code == 404
        assert (await ask(other, "POST", "/indexes", NEW)).status_code == 201
        assert (await ask(one, "POST", "/describe_index_stats", {})).json()["totalVectorCount"] == 0
