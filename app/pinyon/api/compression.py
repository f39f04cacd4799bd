"""Bodies that were compressed, made plain again, up to a bound; for both protocols. Pure."""

import zlib

from pinyon.errors import InvalidArgument, TooLarge

BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""zlib's number for each encoding."""


def inflated(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """The body without its compression; encoding: a key of BITS.

    Raises InvalidArgument if it is not compressed like that, TooLarge if it has more than most_bytes.
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
        raise InvalidArgument(f"The body that was compressed with {encoding} is not whole, or more follows it")
    return plain
