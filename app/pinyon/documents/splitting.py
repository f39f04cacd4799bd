"""Splits a text at the ends of its lines, sentences and words. The parts joined are the text again."""

import re
from collections.abc import Sequence
from itertools import pairwise

BLANK_LINE = re.compile(r"\n[^\S\n]*\n+")
LINE = re.compile(r"\n+")
SENTENCE = re.compile(r"""(?<=[.!?\u2026])["'\u201d\u2019)\]]*\s+|(?<=[\u3002\uff01\uff1f])|\n[^\S\n]*\n+""")
"""After the mark that ends a sentence and the quotes behind it. Chinese and Japanese have no space there."""
WORD = re.compile(r"\s+")

OF_PROSE: Sequence[re.Pattern[str]] = (SENTENCE, WORD)
OF_LINES: Sequence[re.Pattern[str]] = (BLANK_LINE, LINE, SENTENCE, WORD)
"""Where a text is split, the best places first: prose, and lines of code, a list or a table."""


def split_at(text: str, ends: re.Pattern[str]) -> list[str]:
    """The parts of a text. A part ends after a match of `ends`, which belongs to it."""
    places = [0, *(match.end() for match in ends.finditer(text)), len(text)]
    return [text[begin:end] for begin, end in pairwise(places) if end > begin]


def halves(text: str) -> list[str]:
    """Both halves of a text of two characters or more. For what has neither sentences nor words."""
    middle = len(text) // 2
    return [text[:middle], text[middle:]]
