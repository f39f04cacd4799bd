"""Texts to the terms they are found by: words, lower-case and stemmed; pairs of characters where words have no spaces.

Pure. Used for lexical retrieval, for the texts that are stored and for the queries alike.
"""

import re
import unicodedata
from functools import lru_cache

import Stemmer

LANGUAGES = (*sorted(Stemmer.algorithms()), "none")
"""Languages whose words are stemmed; "none" leaves words as they are."""
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by for if in into is it no not of on or s such t that the their then there these "
        "they this to was will with",
    )
)
"""Lucene's English ones, and what is left of 's and 't."""
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese."""
_TOKEN = re.compile(rf"[{UNSPACED}]+|(?:(?![{UNSPACED}])[^\W_])+")
_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(f"[{UNSPACED}]")


MOST_QUERY_CHARACTERS = 10_000
"""Of a query, beyond which its words are not looked up: each distinct one takes a lookup."""


def query_terms(text: str, language: str) -> list[str]:
    """terms() of a query, or of the beginning of a very long one."""
    return terms(text[:MOST_QUERY_CHARACTERS], language)


def terms(text: str, language: str = "english") -> list[str]:
    """The terms of a text, in order and as often as they occur."""
    found: list[str] = []
    text = unicodedata.normalize("NFKC", text).lower()
    # Most texts have no such characters, and the plain expression reads them in half the time.
    for token in (_TOKEN if _UNSPACED.search(text) else _WORD).findall(text):
        if _UNSPACED.match(token):
            found += [token[place : place + 2] for place in range(max(1, len(token) - 1))]
        elif language != "english" or token not in STOP_WORDS:
            found.append(token)
    # All at once, which is several times as quick; pairs of characters have no endings and stay as they are.
    if language == "none":
        return found
    stems = _stemmer(language).stemWords(found)
    return [stem or token for stem, token in zip(stems, found, strict=True)]  # nothing would be left of "s"


@lru_cache
def _stemmer(language: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(language)
