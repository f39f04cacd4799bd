"""A tiny file of 4-bit weights, written by hand: two layers, 32 numbers a token, a vocabulary of twelve pieces."""

import struct
from pathlib import Path

import numpy as np

HIDDEN, LAYERS, HEADS, WIDE, ROWS, POSITIONS, TYPES = 32, 2, 4, 64, 14, 16, 2
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁apple", "▁pear", "s", "▁é", "▁~", "が", "▁12"]
TABLE = {"\t": " ", "\x01": "", "①": "1", "②": "2", "ﬁ": "fi"}


def make(path: Path) -> dict[str, np.ndarray]:
    """Write the file. Returns every tensor, float32, by its name in the file."""
    random = np.random.default_rng(7)
    head = b"E5S1" + struct.pack("<I7if", 1, HIDDEN, LAYERS, HEADS, WIDE, ROWS, POSITIONS, TYPES, 1e-12)
    head += struct.pack("<i", 32)
    blob = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, blob)])
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, offsets[-1]) + offsets.astype("<u4").tobytes()
    head += np.linspace(0, -5, len(PIECES)).astype("<f4").tobytes() + b"".join(blob)
    table = b"".join(
        struct.pack(f"<IB{len(to)}I", ord(character), len(to), *map(ord, to)) for character, to in TABLE.items()
    )
    head += struct.pack("<iI", len(TABLE), len(table)) + table

    matrices = {"emb.word": (ROWS, HIDDEN)}
    vectors = {"emb.pos": POSITIONS * HIDDEN, "emb.type": TYPES * HIDDEN, "emb.ln.w": HIDDEN, "emb.ln.b": HIDDEN}
    for layer in range(LAYERS):
        for name in ("q", "k", "v", "ao", "fi", "fo"):
            rows, columns = {"fi": (WIDE, HIDDEN), "fo": (HIDDEN, WIDE)}.get(name, (HIDDEN, HIDDEN))
            matrices[f"l{layer}.{name}.w"], vectors[f"l{layer}.{name}.b"] = (rows, columns), rows
        vectors |= {f"l{layer}.{norm}.{part}": HIDDEN for norm in ("aln", "oln") for part in "wb"}
    tensors: dict[str, np.ndarray] = {}
    entries: list[tuple[str, int, int, bytes]] = []
    for name, (rows, columns) in matrices.items():
        halves = random.integers(0, 256, (rows, columns // 32, 16), np.uint8)
        scales = random.uniform(0.01, 0.05, (rows, columns // 32)).astype("<f2")
        integers = np.concatenate([halves & 15, halves >> 4], axis=2).astype(np.float32) - 8
        tensors[name] = (integers * scales[:, :, None].astype(np.float32)).reshape(rows, columns)
        stored = np.concatenate([scales[:, :, None].view(np.uint8), halves], axis=2)
        entries.append((name, 1, rows * columns, stored.tobytes()))
    for name, count in vectors.items():
        tensors[name] = random.normal(0, 0.1, count).astype(np.float32) + float(name.endswith("n.w"))
        entries.append((name, 0, count, tensors[name].tobytes()))
    directory = sum(2 + len(name) + 1 + 4 + 16 for name, *_ in entries)
    at = len(head) + 4 + directory
    head += struct.pack("<i", len(entries))
    for name, kind, count, content in entries:
        head += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", kind, count, at, len(content))
        at += len(content)
    path.write_bytes(head + b"".join(content for *_, content in entries))
    return tensors
