"""What a word is: letters and digits in a row, with the marks that belong to them. Pure; knows no language."""

import re
import sys
import unicodedata

LAST = 0x1F000
"""Beyond this code point there are no scripts with marks, only selectors of pictures."""
JOINERS = "\u200c\u200d"
"""Stand between letters of one word, in Persian and in scripts of India."""


def _marks() -> str:
    """Every combining mark, as ranges of a character class."""
    ranges: list[tuple[int, int]] = []
    for code in range(0x300, min(LAST, sys.maxunicode)):
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1] = ranges[-1][0], code
            else:
                ranges.append((code, code))
    return "".join(chr(first) if first == last else f"{chr(first)}-{chr(last)}" for first, last in ranges)


MARKS = _marks() + JOINERS
"""Vowel signs of Hindi or Tamil, points of Arabic and Hebrew, accents that are not one with their letter."""
_MARK = re.compile(f"[{MARKS}]")
_PLAIN = re.compile(r"[^\W_]+")
_MARKED = re.compile(rf"[^\W_](?:[^\W_]|[{MARKS}])*")


def pattern(text: str) -> re.Pattern[str]:
    """What finds the words of a text. Most have no marks, and the plain expression reads them in half the time."""
    return _MARKED if not text.isascii() and _MARK.search(text) else _PLAIN
