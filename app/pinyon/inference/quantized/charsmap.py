"""A table of normalised characters in the form that SentencePiece stores and `normalizers.Precompiled` reads.

It is a tree over the bytes of a character in UTF-8, and after it the replacements, each ended by a 0. The tree is a
double array in the layout of darts-clone (Aoe, An Efficient Digital Search Algorithm by Using a Double-Array Structure,
1989). Each node takes 256 units, which is simple and not small: the table of XLM-RoBERTa takes a megabyte.
"""

import struct
from collections.abc import Mapping

UNITS = 256
"""Units of a node: one for each byte that may follow."""
LEAF, VALUE = 1 << 8, 1 << 31
"""Flags of a unit: a value follows it; it is a value."""


def precompiled(table: Mapping[str, str]) -> bytes:
    """The table as bytes. Keys are single characters, but not the character 0."""
    tree, nodes = [0] * 2 * UNITS, {b"": UNITS}
    tree[0] = UNITS << 10
    leaves: list[int] = []
    for character in table:
        key = character.encode()
        for length in range(1, len(key) + 1):
            unit = nodes[key[: length - 1]] ^ key[length - 1]
            if length == len(key):
                tree[unit] = key[-1]
                leaves.append(unit)
            elif key[:length] not in nodes:
                nodes[key[:length]] = len(tree)
                tree[unit] = _leads_to(len(tree), unit) | key[length - 1]
                tree += [0] * UNITS
    replacements = bytearray()
    for unit, replacement in zip(leaves, table.values(), strict=True):
        tree[unit] |= _leads_to(len(tree), unit) | LEAF
        tree.append(len(replacements) | VALUE)
        replacements += replacement.encode() + b"\0"
    return struct.pack(f"<I{len(tree)}I", 4 * len(tree), *tree) + bytes(replacements)


def _leads_to(first: int, unit: int) -> int:
    """The bits of a unit that say where the units after it begin."""
    return (first ^ unit) << 10
