"""Request bodies: JSON to the shapes of schemas.py, and records as the clients send them. Pure.

Decoding is strict ("3" is no int) and one pass; the content type does not matter, clients send whatever they like.
Everything raises InvalidArgument with what was wrong and where.
"""

import re
from typing import Any, TypeVar

import msgspec

from app.errors import InvalidArgument

T = TypeVar("T")


def decode_body(body: bytes, shape: type[T]) -> T:
    """The body as a Struct."""
    if not body.strip():
        raise InvalidArgument("The request body is empty; send a JSON object")
    decoded: T = _decode(body, "The request body", shape)
    return decoded


CAMEL = {
    "top_k": "topK",
    "include_values": "includeValues",
    "include_metadata": "includeMetadata",
    "sparse_vector": "sparseVector",
    "sparse_values": "sparseValues",
    "set_metadata": "setMetadata",
    "delete_all": "deleteAll",
    "dry_run": "dryRun",
    "pagination_token": "paginationToken",
    "scan_factor": "scanFactor",
    "max_candidates": "maxCandidates",
}
_SNAKE = re.compile(rb'"(?:' + "|".join(CAMEL).encode() + rb')"')


def decode_vector_body(body: bytes, shape: type[T]) -> T:
    """The body of a vector route, whose names may be camelCase or snake_case, as in protobuf's JSON; {} if empty."""
    if not body.strip():
        body = b"{}"
    if not _SNAKE.search(body):
        return decode_body(body, shape)
    raw = _decode(body, "The request body", dict[str, Any])
    raw = _camel(raw)
    if isinstance(raw.get("vectors"), list):
        raw["vectors"] = [_camel(vector) if isinstance(vector, dict) else vector for vector in raw["vectors"]]
    try:
        return msgspec.convert(raw, shape)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"The request body is wrong: {error}") from None


def _camel(raw: dict[str, Any]) -> dict[str, Any]:
    return {CAMEL.get(name, name): value for name, value in raw.items()}


def decode_records(body: bytes) -> list[Any]:
    """The JSON values of a body of records, in order: NDJSON, an array, or a single object.

    Lines end in \\n or \\r\\n, blank ones are skipped, the last needs no end; a body that begins with [ is one array.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if body.lstrip().startswith(b"["):
        rows: list[Any] = _decode(body, "The body", list[Any])
        return rows
    try:
        # Only \n ends a line: U+2028 and its kind may stand inside a JSON string.
        return [_decode(line, f"Line {n}", Any) for n, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    except InvalidArgument as problem:
        try:  # one object written over several lines
            return [_decode(body, "The body", dict[str, Any])]
        except InvalidArgument:
            raise problem from None


def _decode(text: bytes, where: str, shape: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{where} is wrong: {error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{where} is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidArgument(f"{where} is nested too deeply") from None
