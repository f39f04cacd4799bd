"""Token vectors in about one bit a number, for late interaction with texts that need not be read again. Pure.

A window is encoded as the mean of its token vectors and, for each token, the signs of its difference from the mean and
one scale. The scale makes the product of a vector with its own code exact (Gao and Long, RaBitQ, 2024). A text of 200
tokens with 384 numbers each takes 10.8 KB instead of 300. What it costs in ranking: docs/notes/relevance.md.
"""

import struct
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.search.ranking import mean_of_best

FORMAT = 1
"""The first byte of every code."""
HEAD = struct.Struct("<BHH")
"""Format, numbers of a vector, number of windows. The number of tokens of each window follows, as uint16."""
HALF = np.dtype("<f2")


class TokenCodes(msgspec.Struct, frozen=True):
    """A window of token vectors. mean: float16 [dimension]. scales: float16 [tokens]. bits: uint8 [tokens, bytes].

    bits: a bit for each number of a token, 1 if it is above the mean; the last byte is filled up with zeros.
    """

    mean: NDArray[np.float16]
    scales: NDArray[np.float16]
    bits: NDArray[np.uint8]


def encode(windows: Sequence[NDArray[np.floating]]) -> bytes:
    """The code of a text. windows: its token vectors, [tokens, dimension] each, at least one token in each."""
    dimension = windows[0].shape[1] if windows else 0
    parts = [HEAD.pack(FORMAT, dimension, len(windows)), struct.pack(f"<{len(windows)}H", *map(len, windows))]
    for window in windows:
        vectors = window.astype(np.float32)
        mean = vectors.mean(axis=0).astype(HALF)
        rest = vectors - mean.astype(np.float32)
        sizes = np.abs(rest).sum(axis=1)
        scales = np.divide(np.vecdot(rest, rest), sizes, out=np.zeros_like(sizes), where=sizes > 0)
        parts += [mean.tobytes(), scales.astype(HALF).tobytes(), np.packbits(rest > 0, axis=1).tobytes()]
    return b"".join(parts)


def decode(code: bytes) -> list[TokenCodes]:
    """The windows of a text. Raises ValueError for bytes that encode() did not make."""
    try:
        version, dimension, count = HEAD.unpack_from(code)
        lengths = struct.unpack_from(f"<{count}H", code, HEAD.size)
    except struct.error as error:
        raise ValueError("token vectors are cut short") from error
    if version != FORMAT:
        raise ValueError(f"token vectors have format {version}, this Pinyon knows {FORMAT}")
    width, at, windows = -(-dimension // 8), HEAD.size + 2 * count, []
    if len(code) != at + sum(2 * dimension + tokens * (2 + width) for tokens in lengths):
        raise ValueError("token vectors have another length than they say")
    for tokens in lengths:
        mean = np.frombuffer(code, HALF, dimension, at)
        scales = np.frombuffer(code, HALF, tokens, at + 2 * dimension)
        bits = np.frombuffer(code, np.uint8, tokens * width, at + 2 * (dimension + tokens))
        windows.append(TokenCodes(mean, scales, bits.reshape(tokens, width)))
        at += 2 * dimension + tokens * (2 + width)
    return windows


def vectors(window: TokenCodes) -> NDArray[np.float32]:
    """What is left of the token vectors, float32 [tokens, dimension]."""
    bits = np.unpackbits(window.bits, axis=1, count=len(window.mean)).astype(np.float32)
    return (2.0 * bits - 1.0) * window.scales.astype(np.float32)[:, None] + window.mean.astype(np.float32)


def max_sim(query: NDArray[np.float32], window: TokenCodes, weights: NDArray[np.float64] | None = None) -> float:
    """ranking.max_sim() of a query and vectors(window), without computing the vectors.

    query, weights: as ranking.max_sim() takes them. Raises ValueError if the query has vectors of another length.
    """
    dimension = len(window.mean)
    if len(query) and query.shape[1] != dimension:
        raise ValueError(f"the query has token vectors of {query.shape[1]} numbers, the text of {dimension}")
    if not len(query) or not len(window.scales):
        return 0.0
    bits = np.unpackbits(window.bits, axis=1, count=dimension).astype(np.float32)
    signed = 2.0 * (query @ bits.T) - query.sum(axis=1)[:, None]
    products = signed * window.scales.astype(np.float32) + (query @ window.mean.astype(np.float32))[:, None]
    return mean_of_best(products, weights)
