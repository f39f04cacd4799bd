"""Decompresses request bodies, up to a limit, for both protocols. Pure."""

import zlib

from pinyon.errors import InvalidArgument, TooLarge

BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""The wbits argument of zlib for each encoding."""


def inflated(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Decompress a body. encoding: a key of BITS. most_bytes: the largest decompressed body.

    Raises InvalidArgument if the body is not compressed with this encoding, TooLarge if it becomes too large.
    """
    inflator = zlib.decompressobj(BITS[encoding])
    try:
        plain = inflator.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise InvalidArgument(f"The body is not compressed with {encoding}: {error}") from None
    if len(plain) > most_bytes:
        raise TooLarge(
            f"The compressed body becomes more than {most_bytes} bytes, which exceeds the maximum supported size"
        )
    if not inflator.eof or inflator.unused_data:
        raise InvalidArgument(f"The body that was compressed with {encoding} is not whole, or other bytes follow it")
    return plain
