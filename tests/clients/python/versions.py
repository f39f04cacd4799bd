"""What differs between the versions of Pinecone's Python client; everything else is shared."""

import os
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

from pinecone.exceptions import ForbiddenException as Forbidden
from pinecone.exceptions import NotFoundException as NotFound
from pinecone.exceptions import PineconeApiException as BadRequest
from pinecone.exceptions import UnauthorizedException as Unauthorized

MAJOR = int(version("pinecone").split(".")[0])

if MAJOR < 9:
    Conflict = BadRequest
else:
    from pinecone.errors import ConflictError as Conflict  # type: ignore[no-redef]

__all__ = ["BadRequest", "Conflict", "Forbidden", "NotFound", "Unauthorized"]

TRUST: dict[str, Any] = {"ssl_ca_certs": os.environ["SSL_CERT_FILE"]} if MAJOR < 9 else {}
"""Client 7 trusts the authorities of the package certifi unless it is told others; 9 and 10 read SSL_CERT_FILE."""

GRPC_HAS_ERROR_CLASSES = MAJOR >= 9
"""Whether a refusal over gRPC raises what the same refusal raises over REST."""

GRPC_SPEAKS_RECORDS = MAJOR >= 9
"""Whether the gRPC index has upsert_records() and search()."""


def listed_ids(pages: Iterable[Any]) -> list[str]:
    """The ids that index.list() yields: client 7 yields lists of ids, later ones yield pages."""
    return [str(getattr(item, "id", item)) for page in pages for item in getattr(page, "vectors", page)]


def listed_namespaces(found: Iterable[Any]) -> Iterator[Any]:
    """The namespaces that index.list_namespaces() yields: one by one, or from client 9 on in pages."""
    for item in found:
        yield from getattr(item, "namespaces", None) or [item]


def listed_hits(found: Any) -> list[tuple[str, float, dict[str, Any]]]:
    """Id, score and fields of every hit of index.search()."""
    if MAJOR < 9:
        return [(hit["_id"], hit["_score"], dict(hit["fields"])) for hit in found.result.hits]
    return [(hit.id, hit.score, dict(hit.fields)) for hit in found.result.hits]


def listed_models(found: Any) -> list[str]:
    """The names of the models that inference.list_models() tells."""
    return [model.model for model in found]


def get_model(inference: Any, name: str) -> Any:
    """One model; its name's parameter has another name since client 9."""
    return inference.get_model(**{"model_name" if MAJOR < 9 else "model": name})


def tags_of(index: Any) -> dict[str, str]:
    """The tags of an index."""
    tags = index.tags
    return dict(tags.to_dict() if hasattr(tags, "to_dict") else tags or {})
