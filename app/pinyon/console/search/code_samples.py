"""The search of a column as a request, for curl, Python and TypeScript. Pure."""

import json
import shlex
from typing import Any
from urllib.parse import quote

import msgspec

from pinyon.console.page_weight import html_bytes
from pinyon.domain import Index
from pinyon.services.data_plane.records.searches import Search


class CodeSample(msgspec.Struct, frozen=True):
    """A program that sends the request."""

    language: str
    code: str


def of_search(
    index: Index, url: str, namespace: str, search: Search, fields: list[str] | None, room: int
) -> list[CodeSample]:
    """The request of a search. url: of the index. Empty if the programs take more than `room` bytes of a page."""
    query: dict[str, Any] = {}
    if search.text is not None:
        query["inputs"] = {"text": search.text}
        if search.retrieval is not None:
            query["inputs"]["retrieval"] = search.retrieval
    if search.id is not None:
        query["id"] = search.id
    if search.vector is not None:
        query["vector"] = {"values": search.vector}
    query["top_k"] = search.top_k
    if search.filter is not None:
        query["filter"] = search.filter
    body: dict[str, Any] = {"query": query}
    if fields is not None:
        body["fields"] = fields
    if search.rerank is not None:
        text_field = index.spec.embed.text_field if index.spec.embed is not None else "text"
        body["rerank"] = {
            "model": search.rerank.model,
            "rank_fields": [text_field],
            "top_n": search.rerank.top_n,
            "parameters": search.rerank.parameters,
        }
    samples = [
        CodeSample("curl", _curl(url, namespace, body)),
        CodeSample("Python", _python(url, namespace, body)),
        CodeSample("TypeScript", _typescript(url, index.name, namespace, body)),
    ]
    return samples if sum(html_bytes(sample.code) for sample in samples) <= room else []


def _curl(url: str, namespace: str, body: dict[str, Any]) -> str:
    address = shlex.quote(f"{url}/records/namespaces/{quote(namespace, safe='')}/search")
    data = shlex.quote(json.dumps(body, ensure_ascii=False, indent=2))
    return (
        f'curl -s {address} \\\n  -H "Api-Key: $PINECONE_API_KEY" -H "Content-Type: application/json" \\\n  -d {data}'
    )


def _python(url: str, namespace: str, body: dict[str, Any]) -> str:
    # All versions of the client take the query as one argument; newer ones also take its parts.
    arguments = {"namespace": namespace, **body}
    lines = "".join(f"    {name}={value!r},\n" for name, value in arguments.items())
    return (
        "import os\n\nfrom pinecone import Pinecone\n\n"
        f'index = Pinecone(api_key=os.environ["PINECONE_API_KEY"]).Index(host={url!r})\n'
        f"result = index.search(\n{lines})\n"
    )


CAMEL = {"top_k": "topK", "rank_fields": "rankFields", "top_n": "topN"}


def _typescript(url: str, name: str, namespace: str, body: dict[str, Any]) -> str:
    asked = {key: _camel(value) if key in ("query", "rerank") else value for key, value in body.items()}
    options = json.dumps({"name": name, "host": url, "namespace": namespace}, ensure_ascii=False)
    return (
        "import { Pinecone } from '@pinecone-database/pinecone';\n\n"
        "const pc = new Pinecone({ apiKey: process.env.PINECONE_API_KEY! });\n"
        f"const index = pc.index({options});\n"
        f"const result = await index.searchRecords({json.dumps(asked, ensure_ascii=False, indent=2)});\n"
    )


def _camel(value: dict[str, Any]) -> dict[str, Any]:
    return {CAMEL.get(name, name): part for name, part in value.items()}
