"""Decodes request bodies: JSON into the Structs of schemas/, and the records of an upsert. Pure.

Decoding is strict ("3" is no integer), with two exceptions that clients rely on: null in an optional field is the same
as no field, and 3.0 is the integer 3. The content type is ignored, because clients send wrong ones.
Every function raises InvalidArgument, which says what was wrong and where.
"""

import re
from inspect import isclass
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

import msgspec

from pinyon import decoding
from pinyon.errors import InvalidArgument

T = TypeVar("T")


BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def decode_body(body: bytes, shape: type[T]) -> T:
    """Decode a body into a Struct."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body.strip():
        raise InvalidArgument("The request body is empty; send a JSON object")
    decoded: T = _decode_leniently(body, shape)
    return decoded


def whole_number(text: str | None, name: str) -> int | None:
    """The integer value of a parameter of the query string. None if it is absent or empty."""
    if not text:
        return None
    if not _WHOLE.fullmatch(text):
        raise InvalidArgument(f"{name} must be a whole number, got '{text[:40]}'")
    return int(text)


def truth(text: str | None, name: str, default: bool) -> bool:
    """The value of a parameter of the query string that is true or false. The default if it is absent or empty."""
    if not text:
        return default
    if text not in ("true", "false"):
        raise InvalidArgument(f"{name} must be true or false, got '{text[:40]}'")
    return text == "true"


_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def _decode_leniently(body: bytes, shape: type[T]) -> T:
    """Decode strictly first, which is fast. Only if that fails, tidy the value and try again."""
    try:
        return decoding.decode(body, shape)
    except msgspec.ValidationError:
        raw = without_nulls(_decode(body, "The request body", Any), shape)
        return _converted(raw, shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return cast(T, _decode(body, "The request body", shape))  # raises with what is wrong


def _converted(raw: Any, shape: type[T]) -> T:
    try:
        return decoding.convert(raw, shape)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"The request body is wrong: {error}") from None


def without_nulls(value: Any, shape: Any) -> Any:
    """A decoded value without optional fields that are null, and with integers that were written as floats.

    Only the fields and integers of the shape are changed; metadata and filters stay as they are.
    """
    if get_origin(shape) is Annotated:
        return without_nulls(value, get_args(shape)[0])
    if get_origin(shape) in (Union, UnionType):
        for alternative in get_args(shape):
            value = without_nulls(value, alternative)
        return value
    if isinstance(value, dict) and isclass(shape) and issubclass(shape, msgspec.Struct):
        fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
        return {
            name: without_nulls(inner, fields[name].type) if name in fields else inner
            for name, inner in value.items()
            if inner is not None or name not in fields or fields[name].required
        }
    if isinstance(value, list) and get_origin(shape) is list:
        return [without_nulls(inner, get_args(shape)[0]) for inner in value]
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
    "integration_id": "integrationId",
    "error_mode": "errorMode",
}
_FIELD_NAME = re.compile(r"(?<![\w-])(?:" + "|".join(CAMEL) + r")(?![\w-])")
_SNAKE = re.compile(rb'"(?:' + "|".join(CAMEL).encode() + rb')"')


def decode_vector_body(body: bytes, shape: type[T]) -> T:
    """Decode the body of a vector route. An empty body stands for {}.

    Names may be in camelCase or in snake_case, as in protobuf's JSON.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body.strip():
        body = b"{}"
    if not _SNAKE.search(body):
        return decode_body(body, shape)
    raw = _decode(body, "The request body", dict[str, Any])
    raw = _camel(raw)
    if isinstance(raw.get("vectors"), list):
        raw["vectors"] = [_camel(vector) if isinstance(vector, dict) else vector for vector in raw["vectors"]]
    return _converted(without_nulls(raw, shape), shape)


def camel_case(message: str) -> str:
    """An error message of the services, with field names in camelCase.

    Pinecone's messages about an 'ID' have snake_case in both protocols and stay as they are.
    """
    if "'ID'" in message:
        return message
    return _FIELD_NAME.sub(lambda name: CAMEL[name[0]], message)


def _camel(raw: dict[str, Any]) -> dict[str, Any]:
    return {CAMEL.get(name, name): value for name, value in raw.items()}


def decode_records(body: bytes) -> list[Any]:
    """The JSON values of a body of records, in order. The body is NDJSON, an array, or a single object.

    Lines end in \\n or \\r\\n; the last one needs no end. Blank lines are skipped. An array begins with [.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    if body.lstrip().startswith(b"["):
        rows: list[Any] = _decode(body, "The body", list[Any])
        return rows
    try:
        # Only \n ends a line: U+2028 and similar characters may stand inside a JSON string.
        return [_decode(line, f"Line {n}", Any) for n, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    except InvalidArgument as problem:
        try:  # a single object over several lines
            return [_decode(body, "The body", dict[str, Any])]
        except InvalidArgument:
            raise problem from None


def _decode(text: bytes, where: str, shape: Any) -> Any:
    try:
        return decoding.decode(text, shape)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{where} is wrong: {error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{where} is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidArgument(f"{where} is nested too deeply") from None
