"""gRPC's frames and headers, for unary calls. Source: grpc.io, "gRPC over HTTP2"."""

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
    """The frame of a message, uncompressed."""
    return b"\0" + len(message).to_bytes(4) + message


def unframe(body: bytes, encoding: bytes, most_bytes: int) -> bytes:
    """The message in the body of a unary call. encoding: how a compressed message is compressed.

    Raises InvalidArgument, TooLarge, or Unimplemented for an unknown encoding.
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
            raise Unimplemented(f"Messages may be uncompressed, or compressed with gzip or deflate, not with {name!r}")
        message = inflated(message, name, most_bytes)
    if len(message) > most_bytes:
        raise TooLarge(
            f"The message has {len(message)} bytes, which exceeds the maximum supported size of {most_bytes} bytes; "
            "send it in smaller parts"
        )
    return message


def timeout_s(header: bytes | None) -> float | None:
    """The timeout of a call in seconds, or None. header: the value of grpc-timeout. Raises InvalidArgument."""
    if header is None:
        return None
    parts = _TIMEOUT.fullmatch(header)
    if not parts:
        raise InvalidArgument(f"grpc-timeout must be a number and a unit, got {header[:40].decode('latin-1')!r}")
    return int(parts.group(1)) * _SECONDS[parts.group(2)]


LONGEST_STATUS = 4_096
"""Longest encoded status message in bytes. Clients accept 8 KB of headers, and long headers are slow to compress."""


def percent_encoded(message: str) -> bytes:
    """A status message, encoded for its header, and cut if it is too long."""
    encoded = quote(message, safe=_PLAIN)
    while len(encoded) > LONGEST_STATUS:
        message = message[: (LONGEST_STATUS - 3) * len(message) // len(encoded)]
        encoded = quote(message, safe=_PLAIN) + "..."
    return encoded.encode()


def trailers(code: int, message: str = "", more: Mapping[str, str] | None = None) -> list[tuple[bytes, bytes]]:
    """The trailers that end a call. code: the status. more: further trailers."""
    headers = [(b"grpc-status", str(code).encode())]
    if message:
        headers.append((b"grpc-message", percent_encoded(message)))
    return headers + [(name.encode(), value.encode()) for name, value in (more or {}).items()]
