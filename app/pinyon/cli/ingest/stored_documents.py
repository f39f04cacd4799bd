"""The documents that a namespace holds, through Pinecone's API.

Chunk 0 of a document is there as long as any of its chunks is: it is written first and deleted last. Its field
`content_hash` says what the document was made from. It is empty while the other chunks may not fit it. So an
interrupted run is noticed, and the next one writes such a document again.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from pinyon.cli.client.api import Address, Api
from pinyon.cli.client.transport import NDJSON
from pinyon.documents.record_ids import chunk_id, parsed

Fields = dict[str, Any]

PAGE, LONGEST_QUERY = 100, 8_000
"""Ids on a page of a list or in a fetch, and characters of the ids in one address."""
MOST_RECORDS, MOST_BYTES = 96, 2_000_000
"""Of one upsert of texts, by Pinecone's limits."""
MOST_DELETED = 1_000
"""Ids of one delete, by Pinecone's limits."""


class StoredDocument(msgspec.Struct):
    """What the namespace holds of a document. content_hash: of chunk 0; empty if the document is not complete."""

    numbers: set[int]
    content_hash: str = ""


class StoredDocuments:
    """The documents in one namespace of an index. at: where the index answers. The methods raise PinyonError."""

    def __init__(self, api: Api, at: Address, namespace: str) -> None:
        self._api, self._at, self._namespace = api, at, namespace

    async def listed(self, prefix: str) -> dict[str, StoredDocument]:
        """The documents whose ids begin with the prefix."""
        documents: dict[str, StoredDocument] = {}
        query = {"namespace": self._namespace, "prefix": prefix, "limit": str(PAGE)}
        while True:
            page = await self._ask("GET", f"/vectors/list?{urlencode(query, quote_via=quote)}")
            for row in page["vectors"]:
                named = parsed(row["id"])
                if named is not None:
                    documents.setdefault(named[0], StoredDocument(set())).numbers.add(named[1])
            if not (page.get("pagination") or {}).get("next"):
                break
            query["paginationToken"] = page["pagination"]["next"]
        first = {chunk_id(document, 0): document for document in documents}
        of_others = set(documents)
        async for id, fields in self._fetched(list(first)):
            if "content_hash" in fields:
                documents[first[id]].content_hash = str(fields["content_hash"])
                of_others.discard(first[id])
        return {document: stored for document, stored in documents.items() if document not in of_others}

    async def fields(self, ids: Sequence[str]) -> dict[str, Fields]:
        """The fields of those of the records that exist."""
        return {id: fields async for id, fields in self._fetched(ids)}

    async def write(
        self, document: str, records: Sequence[Fields], changed: Sequence[Fields], stored: StoredDocument | None
    ) -> None:
        """Replace a document. Its texts are embedded in one request if they fit into one, or in several.

        records: all chunks, in their order, at least one. changed: those to embed; the others are stored with the same
        text. stored: what is there.
        """
        batches = list(_batches(changed))
        if stored is None and len(batches) == 1:
            await self._upsert(batches[0])  # all of it or nothing, so no mark is needed
            return
        first = records[0]
        unfinished = {**first, "content_hash": ""}
        if stored is not None and 0 in stored.numbers:
            await self._set(document, {"content_hash": ""})
        for batch in batches:
            await self._upsert([unfinished if record is first else record for record in batch])
        if stored is not None:
            await self._delete(document, {number for number in stored.numbers if number >= len(records)})
        if len(changed) < len(records):
            await self._update({"filter": {"source": first["source"]}, "setMetadata": {"modified": first["modified"]}})
        await self._set(document, {"content_hash": first["content_hash"]})

    async def delete(self, document: str, stored: StoredDocument) -> None:
        """Delete a document."""
        if len(stored.numbers) > MOST_DELETED:
            await self._set(document, {"content_hash": ""})
        await self._delete(document, stored.numbers)

    async def _fetched(self, ids: Sequence[str]) -> AsyncIterator[tuple[str, Fields]]:
        for query in _queries(ids):
            answer = await self._ask("GET", f"/vectors/fetch?namespace={quote(self._namespace, safe='')}{query}")
            for id, record in answer["vectors"].items():
                yield id, record.get("metadata") or {}

    async def _upsert(self, records: Sequence[Fields]) -> None:
        body = b"\n".join(map(msgspec.json.encode, records))
        path = f"/records/namespaces/{quote(self._namespace, safe='')}/upsert"
        await self._api.send("POST", path, body, NDJSON, self._at)

    async def _set(self, document: str, fields: Fields) -> None:
        await self._update({"id": chunk_id(document, 0), "setMetadata": fields})

    async def _update(self, change: dict[str, Any]) -> None:
        await self._ask("POST", "/vectors/update", {"namespace": self._namespace, **change})

    async def _delete(self, document: str, numbers: set[int]) -> None:
        """Delete chunks, the last ones first."""
        ids = [chunk_id(document, number) for number in sorted(numbers, reverse=True)]
        for begin in range(0, len(ids), MOST_DELETED):
            body = {"namespace": self._namespace, "ids": ids[begin : begin + MOST_DELETED]}
            await self._ask("POST", "/vectors/delete", body)

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return await self._api.ask(method, path, body, self._at)


def _batches(records: Sequence[Fields]) -> Iterator[list[Fields]]:
    """The records in requests of allowed size."""
    batch: list[Fields] = []
    size = 0
    for record in records:
        length = len(msgspec.json.encode(record)) + 1
        if batch and (len(batch) == MOST_RECORDS or size + length > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += length
    if batch:
        yield batch


def _queries(ids: Sequence[str]) -> Iterator[str]:
    """The ids as parts of addresses, each for one fetch."""
    query: list[str] = []
    for id in ids:
        part = f"&ids={quote(id, safe='')}"
        if len(query) == PAGE or sum(map(len, query)) + len(part) > LONGEST_QUERY:
            yield "".join(query)
            query = []
        query.append(part)
    if query:
        yield "".join(query)
