"""google.protobuf.Struct and plain values. A Struct has no integers: whole numbers come out as int, as they went in."""

import math
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

from app.domain import Metadata
from app.errors import InvalidArgument

LARGEST_WHOLE = 2**53


def plain(struct: Struct) -> dict[str, Any]:
    """The Struct as a dict. Raises InvalidArgument for a number that JSON does not have."""
    return {name: _value(value) for name, value in struct.fields.items()}


def metadata(struct: Struct, where: str) -> dict[str, Any]:
    """As plain(); null is refused, because it would be stored as nothing."""
    found = plain(struct)
    for name, value in found.items():
        if value is None:
            raise InvalidArgument(
                f"{where}: Metadata value must be a string, number, boolean or list of strings, "
                f"got 'null' for field '{name}'"
            )
    return found


def _value(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            if not math.isfinite(number):
                raise InvalidArgument(f"Numbers must be finite, got {number}")
            return int(number) if number.is_integer() and abs(number) <= LARGEST_WHOLE else number
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
    """Put metadata into an empty Struct."""
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
