"""Request bodies: JSON to the shapes of schemas.py, and records as the clients send them. Pure.

Decoding is strict ("3" is no int) but for what clients are used to: null is as good as absent where a field is
optional, and 3.0 is 3. The content type does not matter, clients send whatever they like.
Everything raises InvalidArgument with what was wrong and where.
"""

import re
from inspect import isclass
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

import msgspec

from pinyon.errors import InvalidArgument

T = TypeVar("T")


BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def decode_body(body: bytes, shape: type[T]) -> T:
    """The body as a Struct."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body.strip():
        raise InvalidArgument("The request body is empty; send a JSON object")
    decoded: T = _decode_leniently(body, shape)
    return decoded


def whole_number(text: str | None, name: str) -> int | None:
    """A parameter of the query string that is a whole number; None if it is not there or empty."""
    if not text:
        return None
    if not _WHOLE.fullmatch(text):
        raise InvalidArgument(f"{name} must be a whole number, got '{text[:40]}'")
    return int(text)


_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def _decode_leniently(body: bytes, shape: type[T]) -> T:
    """As the shape says; what it does not say is looked at only if it does not fit: null fields, and whole floats."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError:
        raw = tidied(_decode(body, "The request body", Any), shape)
        return _converted(raw, shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return cast(T, _decode(body, "The request body", shape))  # says what is wrong


def _converted(raw: Any, shape: type[T]) -> T:
    try:
        return msgspec.convert(raw, shape)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"The request body is wrong: {error}") from None


def tidied(value: Any, shape: Any) -> Any:
    """A decoded value with optional fields that are null left out, and whole numbers written as floats made integers.

    Only where the shape has a field or an integer: what is in metadata or a filter is the caller's.
    """
    if get_origin(shape) is Annotated:
        return tidied(value, get_args(shape)[0])
    if get_origin(shape) in (Union, UnionType):
        for one in get_args(shape):
            value = tidied(value, one)
        return value
    if isinstance(value, dict) and isclass(shape) and issubclass(shape, msgspec.Struct):
        fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
        return {
            name: tidied(inner, fields[name].type) if name in fields else inner
            for name, inner in value.items()
            if inner is not None or name not in fields or fields[name].required
        }
    if isinstance(value, list) and get_origin(shape) is list:
        return [tidied(inner, get_args(shape)[0]) for inner in value]
    if isinstance(value, float) and shape is int and value.is_integer():
        return int(value)
    return value


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
_SPELLED = re.compile(r"(?<![\w-])(?:" + "|".join(CAMEL) + r")(?![\w-])")
_SNAKE = re.compile(rb'"(?:' + "|".join(CAMEL).encode() + rb')"')


def decode_vector_body(body: bytes, shape: type[T]) -> T:
    """The body of a vector route, whose names may be camelCase or snake_case, as in protobuf's JSON; {} if empty."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body.strip():
        body = b"{}"
    if not _SNAKE.search(body):
        return decode_body(body, shape)
    raw = _decode(body, "The request body", dict[str, Any])
    raw = _camel(raw)
    if isinstance(raw.get("vectors"), list):
        raw["vectors"] = [_camel(vector) if isinstance(vector, dict) else vector for vector in raw["vectors"]]
    return _converted(tidied(raw, shape), shape)


def camel_case(message: str) -> str:
    """A message of the services with the names that these routes give to fields.

    Sentences that are Pinecone's own stay as they are; those about an 'ID' have snake_case over both protocols.
    """
    if "'ID'" in message:
        return message
    return _SPELLED.sub(lambda found: CAMEL[found[0]], message)


def _camel(raw: dict[str, Any]) -> dict[str, Any]:
    return {CAMEL.get(name, name): value for name, value in raw.items()}


def decode_records(body: bytes) -> list[Any]:
    """The JSON values of a body of records, in order: NDJSON, an array, or a single object.

    Lines end in \\n or \\r\\n, blank ones are skipped, the last needs no end; a body that begins with [ is one array.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
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
