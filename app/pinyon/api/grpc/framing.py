"""gRPC's frames and headers, as the protocol describes them (grpc.io, "gRPC over HTTP2"); one message each way."""

import re
from collections.abc import Mapping
from urllib.parse import quote

from pinyon.api.compression import inflated
from pinyon.errors import InvalidArgument, TooLarge, Unimplemented

PREFIX_BYTES = 5
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def frame(message: bytes) -> bytes:
    """A message as it is sent, not compressed."""
    return b"\0" + len(message).to_bytes(4) + message


def unframe(body: bytes, encoding: bytes, most_bytes: int) -> bytes:
    """The one message of a unary call.

    encoding: of a compressed message. Raises InvalidArgument, TooLarge, or Unimplemented for another encoding.
    """
    if len(body) < PREFIX_BYTES:
        raise InvalidArgument("The call has no message")
    compressed, length = body[0], int.from_bytes(body[1:PREFIX_BYTES])
    if compressed not in (0, 1) or length != len(body) - PREFIX_BYTES:
        raise InvalidArgument("The call must have one message, with its length in front")
    message = body[PREFIX_BYTES:]
    if compressed:
        name = encoding.decode("latin-1")
        if name not in ("gzip", "deflate"):
            raise Unimplemented(f"Messages may be sent plain, or with gzip or deflate, not with {name!r}")
        message = inflated(message, name, most_bytes)
    if len(message) > most_bytes:
        raise TooLarge(
            f"The message has {len(message)} bytes, which exceeds the maximum supported size of {most_bytes} bytes; "
            "send it in smaller parts"
        )
    return message


def timeout_s(header: bytes | None) -> float | None:
    """Seconds the caller waits, or None. Raises InvalidArgument."""
    if header is None:
        return None
    found = _TIMEOUT.fullmatch(header)
    if not found:
        raise InvalidArgument(f"grpc-timeout must be a number and a unit, got {header[:40].decode('latin-1')!r}")
    return int(found.group(1)) * _SECONDS[found.group(2)]


LONGEST_STATUS = 4_096
"""Bytes of a message as its header holds it: clients take 8 KB of headers, and long ones take long to compress."""


def percent_encoded(message: str) -> bytes:
    """A status message as its header holds it, cut where it would be too long for one."""
    found = quote(message, safe=_PLAIN)
    while len(found) > LONGEST_STATUS:
        message = message[: (LONGEST_STATUS - 3) * len(message) // len(found)]
        found = quote(message, safe=_PLAIN) + "..."
    return found.encode()


def trailers(code: int, message: str = "", more: Mapping[str, str] | None = None) -> list[tuple[bytes, bytes]]:
    """The end of a call."""
    found = [(b"grpc-status", str(code).encode())]
    if message:
        found.append((b"grpc-message", percent_encoded(message)))
    return found + [(name.encode(), value.encode()) for name, value in (more or {}).items()]
