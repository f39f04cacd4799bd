"""Texts to the terms they are found by: words, lower-case and stemmed; characters where words have no spaces.

Pure. Used for lexical retrieval, for the texts that are stored and for the queries alike.
"""

import re
import unicodedata
from functools import lru_cache

import Stemmer

from pinyon.search.words import MARKS, pattern

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
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3"
)
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese; and Korean, whose words have endings that no stemmer here knows."""
_TOKEN = re.compile(rf"[{UNSPACED}]+|(?:(?![{UNSPACED}])[^\W_])(?:(?![{UNSPACED}])(?:[^\W_]|[{MARKS}]))*")
_UNSPACED = re.compile(f"[{UNSPACED}]")
KEPT = "+diacritics"
"""At the end of a language: words with other diacritics are other words."""
_DIACRITICS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]")
"""Accents, and the points of Hebrew and Arabic; not the vowel signs of other scripts, which are letters of the word."""
_LETTERS = str.maketrans({"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ß": "ss", "æ": "ae", "œ": "oe", "\u0131": "i"})
"""Letters that are not a letter and a mark to Unicode, and are written so all the same."""
_OWN_LETTERS = "й"
"""Letters that are a letter and a mark to Unicode, and to nobody else."""

MOST_QUERY_CHARACTERS = 10_000
"""Of a query, beyond which its words are not looked up: each distinct one takes a lookup."""


def query_terms(text: str, language: str) -> list[str]:
    """The terms by which a query, or the beginning of a very long one, finds texts: those of terms() that tell most."""
    return _terms(text[:MOST_QUERY_CHARACTERS], language, of_query=True)


def terms(text: str, language: str = "english") -> list[str]:
    """The terms of a text, in order and as often as they occur. language: of LANGUAGES, perhaps with KEPT.

    A word with diacritics has two, without and with them: it is found by either, and first by its exact form. Where
    words have no spaces, each character and each pair of neighbours is a term.
    """
    return _terms(text, language, of_query=False)


def _terms(text: str, language: str, of_query: bool) -> list[str]:
    language, folds = language.removesuffix(KEPT), not language.endswith(KEPT)
    found: list[str] = []
    text = unicodedata.normalize("NFKC", text).lower()
    # Most texts have no such characters, and the plain expression reads them in half the time.
    for token in (_TOKEN if _UNSPACED.search(text) else pattern(text)).findall(text):
        if _UNSPACED.match(token):
            if len(token) == 1 or not of_query:
                found += token
            found += [token[place : place + 2] for place in range(len(token) - 1)]
        elif language != "english" or token not in STOP_WORDS:
            found.append(token)
    if language != "none":
        # All at once, which is several times as quick; pairs of characters have no endings and stay as they are.
        stems = _stemmer(language).stemWords(found)
        found = [stem or token for stem, token in zip(stems, found, strict=True)]  # nothing would be left of "s"
    if folds and not text.isascii():
        found = [form for term in found for form in dict.fromkeys((folded(term), term)) if form]
    return found


@lru_cache(maxsize=100_000)
def folded(term: str) -> str:
    """A term without diacritics: as people type it who do not have them on their keyboard."""
    if term.isascii():
        return term
    parts = (c if c in _OWN_LETTERS else _DIACRITICS.sub("", unicodedata.normalize("NFD", c)) for c in term)
    return unicodedata.normalize("NFC", "".join(parts)).translate(_LETTERS)


@lru_cache
def _stemmer(language: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(language)
