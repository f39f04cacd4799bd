"""Converts google.protobuf.Struct to and from Python values. Whole numbers become int; a Struct has only floats."""

import math
import struct as binary
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct, Value

from pinyon.domain import Metadata
from pinyon.errors import InvalidArgument
from pinyon.filters import MAX_DEPTH

LARGEST_WHOLE = 2**53
DEEPEST = 3 * MAX_DEPTH
"""Nesting up to which objects and lists are read. A deeper filter has more than MAX_DEPTH levels in any case."""


def condition(raw: bytes) -> dict[str, Any]:
    """Decode a filter. Raises InvalidArgument."""
    return _decoded(raw, f"The filter is nested deeper than {MAX_DEPTH} levels")


def metadata(raw: bytes, where: str) -> dict[str, Any]:
    """Decode metadata. Raises InvalidArgument, also for null, which would not be stored."""
    fields = _decoded(raw, f"{where}: the metadata is nested too deeply; it may have lists of strings, and no objects")
    for name, value in fields.items():
        if value is None:
            raise InvalidArgument(
                f"{where}: Metadata value must be a string, number, boolean or list of strings, "
                f"got 'null' for field '{name}'"
            )
    return fields


def _decoded(raw: bytes, too_deep: str) -> dict[str, Any]:
    """Decode a Struct with protobuf. If protobuf refuses it, for example because it is deep, use our own decoder."""
    try:
        return plain(Struct.FromString(raw))
    except DecodeError:
        pass
    try:
        return _struct(raw, 1)
    except _TooDeep:
        raise InvalidArgument(too_deep) from None
    except (
        IndexError,
        ValueError,
        TypeError,
        AttributeError,
        binary.error,
    ) as error:  # also if a field has another type
        raise InvalidArgument(f"The message has a Struct that cannot be read: {error}") from None


def plain(struct: Struct) -> dict[str, Any]:
    """The Struct as a dict. Raises InvalidArgument for a number that JSON does not have."""
    return {name: _value(value) for name, value in struct.fields.items()}


class _TooDeep(Exception):
    """Objects and lists are nested more deeply than DEEPEST."""


def _struct(raw: bytes, depth: int) -> dict[str, Any]:
    """Decode the bytes of a Struct."""
    if depth > DEEPEST:
        raise _TooDeep
    fields = {}
    for number, entry in _fields(raw):
        if number == 1:
            name, value = "", None
            for part, content in _fields(entry):
                if part == 1:
                    name = content.decode()
                elif part == 2:
                    value = _value_of(content, depth)
            fields[name] = value
    return fields


def _value_of(raw: bytes, depth: int) -> Any:
    """Decode the bytes of a Value. If it has several kinds, the last one counts."""
    value: Any = None
    for number, content in _fields(raw):
        match number:
            case 1:
                value = None
            case 2:
                value = _number(binary.unpack("<d", content)[0])
            case 3:
                value = content.decode()
            case 4:
                value = content != 0
            case 5:
                value = _struct(content, depth + 1)
            case 6:
                if depth >= DEEPEST:
                    raise _TooDeep
                value = [_value_of(element, depth + 1) for part, element in _fields(content) if part == 1]
    return value


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: number and content, which is an int for a varint and bytes otherwise.

    Source of the layout: protobuf.dev/programming-guides/encoding.
    """
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            content, at = _varint(raw, at)
            yield number, content
            continue
        if kind == 2:
            size, at = _varint(raw, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"field {number} has the unknown wire type {kind}")
        if at + size > len(raw):
            raise ValueError(f"field {number} is cut off")
        yield number, raw[at : at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A varint, and the position after it."""
    number, shift = 0, 0
    while True:
        byte = raw[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
        if shift > 63:
            raise ValueError("a number has too many bytes")


def _number(number: float) -> float:
    if not math.isfinite(number):
        raise InvalidArgument(f"Numbers must be finite, got {number}")
    return int(number) if number.is_integer() and abs(number) <= LARGEST_WHOLE else number


def _value(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            return _number(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_value(element) for element in value.list_value.values]
        case "struct_value":
            return plain(value.struct_value)
    return None


def fill(struct: Struct, fields: Metadata) -> None:
    """Write metadata into an empty Struct."""
    for name, value in fields.items():
        target = struct.fields[name]
        if isinstance(value, bool):
            target.bool_value = value
        elif isinstance(value, str):
            target.string_value = value
        elif isinstance(value, list):
            target.list_value.SetInParent()
            for element in value:
                target.list_value.values.add().string_value = element
        else:
            target.number_value = value
