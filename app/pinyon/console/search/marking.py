"""Finds the words of a query in a text, as lexical search compares them: stemmed, and without diacritics. Pure."""

import re
import unicodedata
from collections.abc import Iterator

from pinyon.search.text.analysis import AUTO, detects, stop_words
from pinyon.search.text.languages import ENGLISH, detect
from pinyon.search.text.terms import KEEP_DIACRITICS, MOST_QUERY_CHARACTERS, UNSPACED, folded, stems, tokens
from pinyon.search.text.words import MARKS

Piece = tuple[str, bool]
"""A part of a text, and whether it is a word of the query."""
_WORDS = re.compile(rf"[{UNSPACED}]+|(?:(?![{UNSPACED}])[^\W_])(?:(?![{UNSPACED}])(?:[^\W_]|[{MARKS}]))*")
_RUN = re.compile(f"[{UNSPACED}]")


class QueryWords:
    """The words of a query. analysis: as search.analysis takes it; the language of a query is detected for AUTO.

    Words of the query that its language leaves out, such as "the", are not marked.
    """

    def __init__(self, query: str, analysis: str) -> None:
        normalized, words = tokens(query[:MOST_QUERY_CHARACTERS])
        language = analysis.removesuffix(KEEP_DIACRITICS)
        self._language = (detect(normalized, words) or ENGLISH) if detects(analysis) or language == AUTO else language
        left_out = stop_words(self._language)
        plain = [word for word in words if not _RUN.match(word) and word not in left_out]
        self._stems = {folded(stem) for stem in stems(plain, self._language)}
        runs = [word for word in words if _RUN.match(word)]
        self._pairs = {run[place : place + 2] for run in runs for place in range(max(1, len(run) - 1))}

    def pieces(self, text: str) -> list[Piece]:
        """The text in parts that are words of the query, and parts that are not. Together they are the text."""
        pieces, end = [], 0
        for first, last in self._places(text):
            if first > end:
                pieces.append((text[end:first], False))
            pieces.append((text[first:last], True))
            end = last
        return [*pieces, (text[end:], False)] if end < len(text) else pieces

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the words of the query begin and end in the text, in their order and apart."""
        matches = list(_WORDS.finditer(text))
        plain = [match for match in matches if not _RUN.match(match[0])]
        normalized = [unicodedata.normalize("NFKC", match[0]).lower() for match in plain]
        known = zip(plain, stems(normalized, self._language), strict=True)
        stemmed = {match.start(): folded(stem) for match, stem in known}
        for match in matches:
            if match.start() in stemmed:
                if stemmed[match.start()] in self._stems:
                    yield match.span()
            else:
                yield from self._in_run(match)

    def _in_run(self, match: re.Match[str]) -> Iterator[tuple[int, int]]:
        """The places in characters that have no spaces between words; those that touch are one."""
        run, first, end = match[0], -1, -1
        for place in range(len(run)):
            pair = next((pair for pair in (run[place : place + 2], run[place]) if pair in self._pairs), None)
            if pair is None:
                continue
            if place > end and first >= 0:
                yield match.start() + first, match.start() + end
                first = -1
            first, end = (place if first < 0 else first), place + len(pair)
        if first >= 0:
            yield match.start() + first, match.start() + end
