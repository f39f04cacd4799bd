"""Text analysis in one language: turns a text into the terms by which lexical retrieval finds it. Pure.

A term is a word in lower case, stemmed. In scripts that write no spaces between words, characters and pairs of
characters are the terms. Stored texts and queries are analysed alike.
"""

import re
import threading
import unicodedata
from functools import lru_cache

import Stemmer

from pinyon.search.text.words import MARKS, pattern

_STEMMED = frozenset(Stemmer.algorithms())
LANGUAGES = (*sorted(_STEMMED), "none")
"""Languages whose words can be stemmed; "none" does not stem."""
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by for if in into is it no not of on or s such t that the their then there these "
        "they this to was will with",
    )
)
"""Lucene's English stop words, and the letters that remain of 's and 't."""
_SYLLABIC = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
SYLLABIC = re.compile(f"[{_SYLLABIC}]")
"""Thai, Lao, Burmese, Khmer: scripts without spaces, in which it takes several characters to write a syllable."""
UNSPACED = f"{_SYLLABIC}\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3"
"""Scripts without spaces: Thai, Lao, Burmese, Khmer, Japanese, Chinese. Also Korean, for which there is no stemmer."""
_TOKEN = re.compile(rf"[{UNSPACED}]+|(?:(?![{UNSPACED}])[^\W_])(?:(?![{UNSPACED}])(?:[^\W_]|[{MARKS}]))*")
UNSPACED_RUN = re.compile(f"[{UNSPACED}]")
"""Matches a token of tokens() that has no spaces between its words."""
KEEP_DIACRITICS = "+diacritics"
"""Suffix of a language: a word is found only with its own diacritics."""
_DIACRITICS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]")
"""Accents, and the points of Hebrew and Arabic. Vowel signs of other scripts are letters and are not among them."""
_LETTERS = str.maketrans({"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ß": "ss", "æ": "ae", "œ": "oe", "\u0131": "i"})
"""Letters that Unicode does not decompose, but that people type without their diacritics."""
_OWN_LETTERS = "й"
"""Letters that Unicode decomposes, but that are letters of their own."""
_stemming = threading.Lock()
"""Held while a stemmer works: by its documentation, one thread at a time may use it. Threads that read, write and
compute models share the stemmers. Nobody waits longer because of the lock, since a stemmer never releases the GIL."""

MOST_QUERY_CHARACTERS = 10_000
"""Only so many characters of a query are analysed, because each distinct word costs a lookup."""


def query_terms(text: str, language: str) -> list[str]:
    """The terms of a query: the most selective ones of terms(). Of a very long query, only its beginning counts."""
    return _terms(text[:MOST_QUERY_CHARACTERS], language, of_query=True)


def terms(text: str, language: str = "english") -> list[str]:
    """The terms of a text, in order, as often as they occur. language: one of LANGUAGES, perhaps with KEEP_DIACRITICS.

    A word with diacritics has two terms, without and with them, so that its exact form scores higher. In scripts
    without spaces, each character and each pair of neighbours is a term.
    """
    return _terms(text, language, of_query=False)


def _terms(text: str, language: str, of_query: bool) -> list[str]:
    language, folds = language.removesuffix(KEEP_DIACRITICS), not language.endswith(KEEP_DIACRITICS)
    result: list[str] = []
    text, words = tokens(text)
    for token in words:
        if UNSPACED_RUN.match(token):
            if len(token) == 1 or not of_query:
                result += token
            result += [token[place : place + 2] for place in range(len(token) - 1)]
        elif language != "english" or token not in STOP_WORDS:
            result.append(token)
    result = stems(result, language)  # pairs of characters have no endings and stay as they are
    if folds and not text.isascii():
        result = [form for term in result for form in dict.fromkeys((folded(term), term)) if form]
    return result


def tokens(text: str) -> tuple[str, list[str]]:
    """The text in lower case, and its words in their order; a run of characters without spaces is one."""
    text = unicodedata.normalize("NFKC", text).lower()
    # Most texts have no such characters, and the simple expression takes half the time.
    return text, (_TOKEN if UNSPACED_RUN.search(text) else pattern(text)).findall(text)


def stems(words: list[str], language: str | None) -> list[str]:
    """The stem of each word; the words themselves in a language without a stemmer."""
    if language is None or language not in _STEMMED:
        return list(words)
    with _stemming:
        stemmed = _stemmer(language).stemWords(words)  # one call for all words is several times as fast
    return [stem or word for stem, word in zip(stemmed, words, strict=True)]


@lru_cache(maxsize=100_000)
def folded(term: str) -> str:
    """A term without diacritics, as people type it whose keyboard does not have them."""
    if term.isascii():
        return term
    parts = (c if c in _OWN_LETTERS else _DIACRITICS.sub("", unicodedata.normalize("NFD", c)) for c in term)
    return unicodedata.normalize("NFC", "".join(parts)).translate(_LETTERS)


@lru_cache
def _stemmer(language: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(language)
