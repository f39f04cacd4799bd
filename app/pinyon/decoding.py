"""Decodes JSON and plain values into types, from any thread.

msgspec reads the annotations of a Struct when it first decodes one. A second thread that decodes the same Struct
meanwhile uses what is half read, and the process ends with a segmentation fault (msgspec 0.22). So each type is made
ready under a lock before its first use.
"""

from functools import cache
from threading import Lock
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")

_LOCK = Lock()


@overload
def decode(text: bytes | str, type: type[T]) -> T: ...
@overload
def decode(text: bytes | str, type: Any) -> Any: ...
def decode(text: bytes | str, type: Any) -> Any:
    """The value that JSON text holds, as this type. Raises msgspec.MsgspecError, UnicodeDecodeError, RecursionError."""
    return _decoder(type).decode(text)


@overload
def convert(value: Any, type: type[T], *, strict: bool = True) -> T: ...
@overload
def convert(value: Any, type: Any, *, strict: bool = True) -> Any: ...
def convert(value: Any, type: Any, *, strict: bool = True) -> Any:
    """A decoded value as this type. Not strict: "3" is the number 3. Raises msgspec.ValidationError, RecursionError."""
    _decoder(type)
    return msgspec.convert(value, type, strict=strict)


@cache
def _decoder(type: Any) -> msgspec.json.Decoder[Any]:
    with _LOCK:
        return msgspec.json.Decoder(type)
