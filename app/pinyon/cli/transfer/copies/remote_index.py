"""An index of any server, asked through Pinecone's public data plane alone."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from pinyon import decoding
from pinyon.cli.client.api import Address, Api
from pinyon.cli.client.transport import JSON, NDJSON, HttpTransport
from pinyon.errors import FailedPrecondition, InvalidArgument, NotFound, PinyonError

PAGE = 100
"""Records of a page. Hosted indexes list no more."""
LONGEST_QUERY = 6_000
"""Characters of the ids in one URL. Proxies refuse URLs from about 8,000 characters on."""
LARGEST_BODY = 1_900_000
"""Bytes of the records of one upsert. Hosted indexes take 2 MB."""
TEXTS_PER_UPSERT = 96
"""Records with text of one upsert. Hosted indexes take no more."""
DEFAULT_NAMESPACE = "__default__"
EVERY_RECORD = {"__pinyon_copy_no_field__": {"$exists": False}}
"""A filter that every record matches. fetch_by_metadata must have one."""


class Vector(msgspec.Struct, rename="camel"):
    """A record as a server writes it. The values and fields are JSON that is not decoded; empty where there are none.

    What is not decoded cannot change on its way.
    """

    id: str
    values: msgspec.Raw = msgspec.Raw()
    sparse_values: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()


class Page(msgspec.Struct, frozen=True):
    """Some records in their order. vectors: None if only the ids are known. token: of the next page; None: the last."""

    ids: list[str]
    vectors: list[Vector] | None
    token: str | None


class Stats(msgspec.Struct, frozen=True):
    """What an index is. namespaces: how many records each has. dimension, metric: None if the server does not say."""

    namespaces: dict[str, int]
    dimension: int | None
    metric: str | None


class _Count(msgspec.Struct, rename="camel"):
    vector_count: int = 0


class _Stats(msgspec.Struct, rename="camel"):
    namespaces: dict[str, _Count] = {}
    dimension: int | None = None
    metric: str | None = None


class _Pagination(msgspec.Struct):
    next: str | None = None


class _Listed(msgspec.Struct):
    id: str


class _Ids(msgspec.Struct):
    vectors: list[_Listed] = []
    pagination: _Pagination | None = None


class _Vectors(msgspec.Struct):
    vectors: dict[str, Vector] = {}
    pagination: _Pagination | None = None


class Scored(msgspec.Struct):
    """A hit."""

    id: str
    score: float = 0.0


class _Hits(msgspec.Struct):
    matches: list[Scored] = []


class RemoteIndex:
    """An index by its address. Methods raise the PinyonError that fits the refusal, with the address in the message.

    url: of the data plane, such as https://docs-abc123.svc.pinecone.io or http://localhost:5081. key: an API key, or
    an empty string. Raises InvalidArgument if they are none.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = address(url)
        self._api = Api(HttpTransport(key), Address(self.url))

    async def _ask(self, method: str, path: str, body: bytes = b"", kind: str = JSON) -> bytes:
        try:
            return (await self._api.send(method, path, body, kind)).body
        except PinyonError as error:
            if self.url in error.message:
                raise
            raise type(error)(f"{self.url}: {error.message}") from error

    def _decoded(self, body: bytes, type: Any) -> Any:
        """Raises FailedPrecondition if the answer is not what an index answers."""
        try:
            return decoding.decode(body, type)
        except msgspec.MsgspecError as error:
            raise FailedPrecondition(f"{self.url} does not answer like an index: {error}") from error

    async def stats(self) -> Stats:
        """The namespaces and their numbers of records."""
        stats = self._decoded(await self._ask("POST", "/describe_index_stats", b"{}"), _Stats)
        namespaces = {name or DEFAULT_NAMESPACE: count.vector_count for name, count in stats.namespaces.items()}
        return Stats(namespaces, stats.dimension or None, stats.metric)

    async def pages(self, namespace: str, token: str | None) -> AsyncIterator[Page]:
        """The records of a namespace, page by page. token: of the first page, if it is not the beginning.

        Some indexes have no list of ids, such as those of pods. Their records are fetched by a filter that all match.
        """
        lists = token is None or token.startswith("list:")
        token = None if token is None else token.partition(":")[2]
        while True:
            try:
                page = await (self._listed if lists else self._matching)(namespace, token)
            except (InvalidArgument, NotFound, FailedPrecondition) as error:
                if not lists or token is not None:
                    raise
                try:
                    page = await self._matching(namespace, None)
                except PinyonError:
                    raise error from None  # a server that refuses both says in the first answer what is wrong
                lists = False
            token = page.token
            if token is not None:
                page = msgspec.structs.replace(page, token=f"{'list' if lists else 'match'}:{token}")
            yield page
            if token is None:
                return

    async def _listed(self, namespace: str, token: str | None) -> Page:
        query = {"namespace": namespace, "limit": PAGE, **({} if token is None else {"paginationToken": token})}
        listed = self._decoded(await self._ask("GET", f"/vectors/list?{urlencode(query)}"), _Ids)
        return Page([each.id for each in listed.vectors], None, _next(listed.pagination))

    async def _matching(self, namespace: str, token: str | None) -> Page:
        query = {"namespace": namespace, "filter": EVERY_RECORD, "limit": PAGE}
        if token is not None:
            query["paginationToken"] = token
        body = await self._ask("POST", "/vectors/fetch_by_metadata", msgspec.json.encode(query))
        fetched = self._decoded(body, _Vectors)
        vectors = list(fetched.vectors.values())
        return Page([vector.id for vector in vectors], vectors, _next(fetched.pagination))

    async def fetch(self, namespace: str, ids: Sequence[str]) -> list[Vector]:
        """Those of the records that exist, in the order of the ids."""
        vectors: dict[str, Vector] = {}
        for some in _in_urls(ids):
            query = urlencode([("namespace", namespace), *(("ids", id) for id in some)])
            vectors |= self._decoded(await self._ask("GET", f"/vectors/fetch?{query}"), _Vectors).vectors
        return [vectors[id] for id in ids if id in vectors]

    async def upsert(self, namespace: str, vectors: Sequence[Vector]) -> None:
        """Store records with their vectors."""
        head = b'{"namespace":' + msgspec.json.encode(namespace) + b',"vectors":['
        for some in _batches([_vector_json(vector) for vector in vectors], PAGE):
            await self._ask("POST", "/vectors/upsert", head + b",".join(some) + b"]}")

    async def upsert_texts(self, namespace: str, rows: Sequence[dict[str, Any]]) -> None:
        """Store records that the index embeds itself. rows: the id in _id, and the fields."""
        path = f"/records/namespaces/{quote(namespace, safe='')}/upsert"
        for some in _batches([msgspec.json.encode(row) for row in rows], TEXTS_PER_UPSERT):
            await self._ask("POST", path, b"\n".join(some), NDJSON)

    async def nearest(self, namespace: str, id: str, top_k: int) -> list[Scored]:
        """The records that are nearest to one of them, best first."""
        query = msgspec.json.encode({"namespace": namespace, "id": id, "topK": top_k})
        hits: list[Scored] = self._decoded(await self._ask("POST", "/query", query), _Hits).matches
        return hits

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def address(url: str) -> str:
    """The address of an index; https is taken where no scheme is given. Raises InvalidArgument if there is a path."""
    url = (url if "://" in url else f"https://{url}").rstrip("/")
    parts = urlsplit(url)
    if parts.path or parts.query or parts.fragment:
        raise InvalidArgument(f"'{url}' has more than scheme, host and port; give the index's address alone")
    return url


def _next(pagination: _Pagination | None) -> str | None:
    return None if pagination is None else pagination.next or None


def _in_urls(ids: Sequence[str]) -> list[list[str]]:
    """The ids in groups that fit into a URL."""
    groups: list[list[str]] = []
    room = 0
    for id in ids:
        length = len(urlencode({"ids": id})) + 1
        if length > room:
            groups.append([])
            room = LONGEST_QUERY
        groups[-1].append(id)
        room -= length
    return groups


def _batches(records: Sequence[bytes], most: int) -> list[list[bytes]]:
    """The records in groups that fit into a request."""
    groups: list[list[bytes]] = []
    room = 0
    for record in records:
        if not groups or len(groups[-1]) == most or len(record) + 1 > room:
            groups.append([])
            room = LARGEST_BODY
        groups[-1].append(record)
        room -= len(record) + 1
    return groups


def _vector_json(vector: Vector) -> bytes:
    parts = [b'"id":' + msgspec.json.encode(vector.id)]
    for name, raw in (("values", vector.values), ("sparseValues", vector.sparse_values), ("metadata", vector.metadata)):
        text = bytes(raw)
        if text not in (b"", b"null", b"[]"):
            parts.append(f'"{name}":'.encode() + text)
    return b"{" + b",".join(parts) + b"}"
