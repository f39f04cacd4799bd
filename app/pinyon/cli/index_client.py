"""One index for commands: asked in the running server, or in this process if no server runs."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from pinyon.cli.common import ask_server, index_path, server_url


class IndexClient(Protocol):
    """Methods raise PinyonError. read_parameters: of the index's embedding, with the names of the API."""

    async def read_parameters(self) -> dict[str, Any]:
        """What the index has. Raises FailedPrecondition if it embeds no text, or is sparse."""
        ...

    async def served_by(self, reranker: str) -> str:
        """The name of the model that answers to the name of a reranker."""
        ...

    async def search(self, namespace: str, text: str, **how: Any) -> list[dict[str, Any]]:
        """The hits as JSON values, with explanations. how: top_k, retrieval, mix and perhaps rerank, a model."""
        ...

    async def configure(self, read_parameters: dict[str, Any]) -> None:
        """Change some of the read parameters."""
        ...


class ServedIndex:
    """An IndexClient that sends requests to the server that has the data folder open."""

    def __init__(self, settings: Any, key: str | None, name: str) -> None:
        self._settings, self._key, self._name = settings, key, name
        self._address: dict[str, Any] | None = None

    async def read_parameters(self) -> dict[str, Any]:
        return _read_parameters(self._name, self._describe())

    async def served_by(self, reranker: str) -> str:
        from urllib.parse import quote

        from pinyon.errors import FailedPrecondition, NotFound

        model = ask_server(self._settings, self._key, "GET", f"/models/{quote(reranker, safe='')}")
        if model["type"] != "rerank":
            raise NotFound(f"Model '{reranker}' is no reranker")
        if "unavailable" in model:
            raise FailedPrecondition(model["unavailable"])
        return str(model["served_by"]).partition(";")[0]

    def _describe(self) -> dict[str, Any]:
        described: dict[str, Any] = ask_server(self._settings, self._key, "GET", index_path(self._name))
        return described

    def _where(self) -> dict[str, Any]:
        """Where the index answers: on the main port, on a port of its own, or by its host name.

        The server may have been started with options that this command was not given. So the server's word counts: if
        no proxy stands in front of it, only a host name of the index's own differs from the server's.
        """
        if self._address is None:
            from urllib.parse import urlsplit

            of_server, of_settings = self._settings.server, self._settings.index
            host = self._describe()["host"].rpartition("//")[2]
            told, here = urlsplit(f"//{host}"), urlsplit(server_url(self._settings))
            if of_server.index_host or (told.hostname != here.hostname and not of_server.public_url):
                self._address = {"host": host}
            elif of_settings is not None and of_settings.name == self._name:
                self._address = {}
            else:
                self._address = {"port": told.port}
        return self._address

    async def search(self, namespace: str, text: str, **how: Any) -> list[dict[str, Any]]:
        from urllib.parse import quote

        inputs = {"text": text, "explain": True, "retrieval": how["retrieval"], "mix": how["mix"]}
        body: dict[str, Any] = {"query": {"top_k": how["top_k"], "inputs": inputs}, "fields": []}
        if how.get("rerank"):
            body["rerank"] = {"model": how["rerank"], "parameters": {"truncate": "END"}}
        path = f"/records/namespaces/{quote(namespace, safe='')}/search"
        answer = ask_server(self._settings, self._key, "POST", path, body, timeout_s=600, **self._where())
        hits: list[dict[str, Any]] = answer["result"]["hits"]
        return hits

    async def configure(self, read_parameters: dict[str, Any]) -> None:
        change = {"embed": {"read_parameters": read_parameters}}
        ask_server(self._settings, self._key, "PATCH", index_path(self._name), change)


class OpenIndex:
    """An IndexClient on the services of this process."""

    def __init__(self, service: Any, name: str) -> None:
        self._catalog, self._parts, self._name = service.catalog, service.ready(), name

    async def read_parameters(self) -> dict[str, Any]:
        from pinyon.api.rest.schemas.control_schemas import described

        index = self._parts.indexes.index(self._name)
        return _read_parameters(self._name, json.loads(json.dumps(described(index, "", "Ready", ""))))

    async def served_by(self, reranker: str) -> str:
        self._catalog.entry(reranker, "rerank")
        return str(self._catalog.answer(reranker).by)

    async def search(self, namespace: str, text: str, **how: Any) -> list[dict[str, Any]]:
        from pinyon.services.control_plane import mix_rules
        from pinyon.services.data_plane.reranking import Rerank
        from pinyon.services.data_plane.searches import Search

        rerank = Rerank(how["rerank"], parameters={"truncate": "END"}) if how.get("rerank") else None
        search = Search(
            how["top_k"],
            text=text,
            retrieval=how["retrieval"],
            mix=mix_rules.mix(how["mix"]),
            explain=True,
            fields=[],
            rerank=rerank,
        )
        index = self._parts.indexes.index(self._name)
        result = await self._parts.records.search(index, namespace, search)
        return [{"_id": hit.id, "_score": hit.score, "fields": hit.metadata} for hit in result.hits]

    async def configure(self, read_parameters: dict[str, Any]) -> None:
        from pinyon.services.control_plane.indexes import IndexChange

        await self._parts.indexes.configure(self._name, IndexChange(embed={"read_parameters": read_parameters}))


def _read_parameters(name: str, described: dict[str, Any]) -> dict[str, Any]:
    from pinyon.errors import FailedPrecondition

    if described["vector_type"] == "sparse" or "embed" not in described:
        raise FailedPrecondition(f"Index {name} has no dense embedding of texts, so there is nothing to tune")
    read: dict[str, Any] = described["embed"]["read_parameters"]
    return read


@asynccontextmanager
async def opened(settings: Any, key: str | None, name: str) -> AsyncIterator[IndexClient]:
    """An index in the running server, or in this process. Raises FailedPrecondition if there is no data folder."""
    from pinyon.storage.engines import installation_of

    installation = installation_of(settings.storage)
    installation.require()
    if installation.holder() is not None:
        yield ServedIndex(settings, key, name)
        return
    import asyncio

    from pinyon.server import Service
    from pinyon.services.control_plane.addresses import Addresses

    # Nobody sends requests to this process, so no index needs a port.
    service = Service(settings, Addresses("localhost", 0, index_host="{index}.localhost"))
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with service.running(lambda: begun.set_result(None), begun.set_exception):
        await begun
        yield OpenIndex(service, name)
