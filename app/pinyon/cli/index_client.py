"""One index for `pinyon tune`: how it is searched, and its hits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from pinyon.cli.client.api import Address, Api
from pinyon.cli.client.connection import connected_by
from pinyon.cli.common import index_path
from pinyon.errors import FailedPrecondition, NotFound


class IndexClient:
    """Methods raise PinyonError. read_parameters: of the index's embedding, with the names of the API."""

    def __init__(self, api: Api, name: str, described: dict[str, Any], at: Address) -> None:
        self._api, self._name, self._described, self._at = api, name, described, at

    def read_parameters(self) -> dict[str, Any]:
        """What the index has. Raises FailedPrecondition if it embeds no text, or is sparse."""
        if self._described["vector_type"] == "sparse" or "embed" not in self._described:
            raise FailedPrecondition(f"Index {self._name} has no dense embedding of texts, so there is nothing to tune")
        read: dict[str, Any] = self._described["embed"]["read_parameters"]
        return read

    async def served_by(self, reranker: str) -> str:
        """The name of the model that answers to the name of a reranker."""
        model = await self._api.ask("GET", f"/models/{quote(reranker, safe='')}")
        if model["type"] != "rerank":
            raise NotFound(f"Model '{reranker}' is no reranker")
        if "unavailable" in model:
            raise FailedPrecondition(model["unavailable"])
        return str(model["served_by"]).partition(";")[0]

    async def search(self, namespace: str, text: str, **how: Any) -> list[dict[str, Any]]:
        """The hits as JSON values, with explanations. how: top_k, retrieval, mix and perhaps rerank, a model."""
        inputs = {"text": text, "explain": True, "retrieval": how["retrieval"], "mix": how["mix"]}
        body: dict[str, Any] = {"query": {"top_k": how["top_k"], "inputs": inputs}, "fields": []}
        if how.get("rerank"):
            body["rerank"] = {"model": how["rerank"], "parameters": {"truncate": "END"}}
        path = f"/records/namespaces/{quote(namespace, safe='')}/search"
        hits: list[dict[str, Any]] = (await self._api.ask("POST", path, body, self._at))["result"]["hits"]
        return hits

    async def configure(self, read_parameters: dict[str, Any]) -> None:
        """Change some of the read parameters."""
        await self._api.ask("PATCH", index_path(self._name), {"embed": {"read_parameters": read_parameters}})


@asynccontextmanager
async def opened(settings: Any, key: str | None, name: str) -> AsyncIterator[IndexClient]:
    """An index in the running server, or in this process. Raises FailedPrecondition if there is no data folder."""
    async with connected_by(settings, key) as api:
        described, at = await api.index(name)
        yield IndexClient(api, name, described, at)
