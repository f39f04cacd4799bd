"""What differs between the versions of Pinecone's Python client; everything else is shared."""

import os
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

MAJOR = int(version("pinecone").split(".")[0])

TRUST: dict[str, Any] = {"ssl_ca_certs": os.environ["SSL_CERT_FILE"]} if MAJOR < 9 else {}
"""Client 7 trusts the authorities of the package certifi unless it is told others; 9 and 10 read SSL_CERT_FILE."""


def listed_ids(pages: Iterable[Any]) -> list[str]:
    """The ids that index.list() yields: client 7 yields lists of ids, later ones yield pages."""
    return [str(getattr(item, "id", item)) for page in pages for item in getattr(page, "vectors", page)]


def listed_namespaces(found: Iterable[Any]) -> Iterator[Any]:
    """The namespaces that index.list_namespaces() yields: one by one, or in pages."""
    for item in found:
        yield from getattr(item, "namespaces", None) or [item]


def listed_hits(found: Any) -> list[tuple[str, float, dict[str, Any]]]:
    """Id, score and fields of every hit of index.search()."""
    if MAJOR < 9:
        return [(hit["_id"], hit["_score"], dict(hit["fields"])) for hit in found.result.hits]
    return [(hit.id, hit.score, dict(hit.fields)) for hit in found.result.hits]
