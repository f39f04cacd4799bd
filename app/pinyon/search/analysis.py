"""Text analysis of an index: the terms by which lexical retrieval finds a text, and those of a query. Pure.

An index has one language (then terms.py is the analysis), or the language of each text is detected (AUTO). A namespace
may then hold texts of several languages, and a query may be in any of them. So each word of a query is looked for in
the form that each of these languages gives it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise

import msgspec

from pinyon.search import terms as one_language
from pinyon.search.languages import ENGLISH, detect, languages
from pinyon.search.terms import (
    KEEP_DIACRITICS,
    MOST_QUERY_CHARACTERS,
    STOP_WORDS,
    SYLLABIC,
    UNSPACED_RUN,
    folded,
    stems,
    tokens,
)

AUTO = "auto"
"""The language of each text is detected."""
LANGUAGES = (AUTO, *one_language.LANGUAGES)
"""The languages that an index can have."""
NO_LANGUAGES: Mapping[str, int] = {}
VIETNAMESE = "vietnamese"
"""Its words have one to three syllables with spaces between them, so pairs of syllables are terms too."""


class Language(msgspec.Struct, frozen=True):
    """What a text is analysed as. certain: the text says so itself; else it is the one of most other texts."""

    name: str
    certain: bool


class AnalysedText(msgspec.Struct, frozen=True):
    """The terms of a text, as often as they occur, and its length in words. language: None if the index has one."""

    terms: list[str]
    words: int
    language: Language | None = None


class QueryTerm(msgspec.Struct, frozen=True):
    """A term of a query. forms: a text with any of them has the term. weight: how much it counts, at most 1."""

    forms: tuple[str, ...]
    weight: float = 1.0


def analysed(texts: Sequence[str], analysis: str, certain: Mapping[str, int] = NO_LANGUAGES) -> list[AnalysedText]:
    """Analyse texts of a namespace. A text of uncertain language is taken for one in the language of most others.

    analysis: one of LANGUAGES, perhaps with KEEP_DIACRITICS. certain: how many texts of the namespace are certainly in
    each language; those of `texts` are added.
    """
    if not detects(analysis):
        return [AnalysedText(terms, len(terms)) for terms in (one_language.terms(text, analysis) for text in texts)]
    split = [tokens(text) for text in texts]
    detected = [detect(*text) for text in split]
    known = Counter(certain) + Counter(language for language in detected if language is not None)
    usual = most_frequent(known)
    return [
        _analysed(normalized, words, Language(language or usual, language is not None), analysis)
        for (normalized, words), language in zip(split, detected, strict=True)
    ]


def analysed_as(text: str, language: str, analysis: str) -> AnalysedText:
    """Analyse a text whose language was decided before. Its Language says whether the text says so itself.

    Raises ValueError for a language that cannot be detected.
    """
    if language not in languages():
        raise ValueError(f"'{language}' is no language of texts")
    normalized, words = tokens(text)
    detected = detect(normalized, words)
    return _analysed(normalized, words, Language(detected or language, detected is not None), analysis)


def query_languages(text: str, analysis: str, texts: Mapping[str, int]) -> tuple[str, ...]:
    """The languages whose forms query_terms() looks for: that of the query, then the others of the namespace.

    texts: how many texts the namespace has in each language. A query of uncertain language is taken for one in the
    most frequent language. Empty if the index has one language.
    """
    if not detects(analysis):
        return ()
    usual = most_frequent(texts)
    if len(texts) < 2:
        return (usual,)
    own = detect(*tokens(text[:MOST_QUERY_CHARACTERS]), candidates=texts.keys()) or usual
    return (own, *sorted(texts.keys() - {own}))


def query_terms(text: str, analysis: str, in_languages: Sequence[str] = ()) -> list[QueryTerm]:
    """The terms of a query, as often as it has them. Of a very long query, only its beginning counts.

    in_languages: as query_languages() returns them; for AUTO. Stop words of the first are left out. A word with
    diacritics has two terms of half the weight, without and with them, so that its exact form scores higher.
    """
    if not detects(analysis):
        return [QueryTerm((term,)) for term in one_language.query_terms(text, analysis)]
    in_languages = in_languages or (ENGLISH,)
    normalized, words = tokens(text[:MOST_QUERY_CHARACTERS])
    runs: list[str] = []
    if not normalized.isascii():
        runs = [word for word in words if UNSPACED_RUN.match(word)]
        words = [word for word in words if not UNSPACED_RUN.match(word)]
    # A query of nothing else is asked with the stop words that are none in another language of the namespace.
    words = [word for word in words if word not in stop_words(in_languages[0])] or ([] if runs else words)
    if in_languages[0] == VIETNAMESE:
        words += _pairs(words)
    forms = _forms(words, in_languages)
    result = [QueryTerm((gram,)) for run in runs for gram in _grams(run, of_query=True)]
    if normalized.isascii() or analysis.endswith(KEEP_DIACRITICS):
        return result + [QueryTerm(of_word) for of_word in forms]
    return result + [term for of_word in forms for term in _without_and_with_diacritics(of_word)]


def _forms(words: list[str], in_languages: Sequence[str]) -> list[tuple[str, ...]]:
    """The distinct stems of each word in languages that do not leave it out. A word that all leave out is not there."""
    if len(in_languages) == 1:
        left_out = stop_words(in_languages[0])
        return [(form,) for form in stems([word for word in words if word not in left_out], in_languages[0])]
    forms: list[dict[str, None]] = [{} for _ in words]
    for language in in_languages:
        left_out = stop_words(language)
        for word, form, of_word in zip(words, stems(words, language), forms, strict=True):
            if word not in left_out:
                of_word[form] = None
    return [tuple(of_word) for of_word in forms if of_word]


def _without_and_with_diacritics(forms: tuple[str, ...]) -> list[QueryTerm]:
    without = tuple(dict.fromkeys(form for form in map(folded, forms) if form))
    return [QueryTerm(without, 0.5), QueryTerm(forms, 0.5)] if without not in ((), forms) else [QueryTerm(forms)]


def detects(analysis: str) -> bool:
    """Whether the language of each text is detected."""
    return analysis.removesuffix(KEEP_DIACRITICS) == AUTO


def most_frequent(texts: Mapping[str, int]) -> str:
    """The language with most texts; English if there are none, and if it has as many as another."""
    return max(sorted(texts), key=lambda name: (texts[name], name == ENGLISH), default=ENGLISH)


def _analysed(normalized: str, words: list[str], language: Language, analysis: str) -> AnalysedText:
    left_out = stop_words(language.name)
    runs: list[str] = []
    if not normalized.isascii():
        runs = [word for word in words if UNSPACED_RUN.match(word)]
        words = [word for word in words if not UNSPACED_RUN.match(word)]
    words = [word for word in words if word not in left_out]
    result = stems(words, language.name)
    length = len(words) + sum(_words_in(run) for run in runs)
    if language.name == VIETNAMESE:
        result += _pairs(words)
    if not normalized.isascii() and not analysis.endswith(KEEP_DIACRITICS):
        result = [form for term in result for form in dict.fromkeys((folded(term), term)) if form]
    result += [gram for run in runs for gram in _grams(run, of_query=False)]
    return AnalysedText(result, length, language)


@cache
def stop_words(language: str) -> frozenset[str]:
    """The words that are left out. In English these are the few that indexes of one language leave out."""
    return STOP_WORDS if language == ENGLISH else languages()[language].stop_words


def _pairs(words: Sequence[str]) -> list[str]:
    return [f"{first}_{second}" for first, second in pairwise(words)]


def _grams(run: str, of_query: bool) -> list[str]:
    """The terms of characters without spaces between words. A query has the longest ones only: they tell most."""
    most = 3 if SYLLABIC.match(run) else 2
    if of_query:
        sizes: Sequence[int] = [min(len(run), most)]
    else:
        sizes = range(most - 1, most + 1) if len(run) >= most else [len(run)]
    return [run[start : start + size] for size in sizes for start in range(len(run) - size + 1)]


def _words_in(run: str) -> int:
    """About how many words characters without spaces make, so that lengths can be compared between languages."""
    return max(1, len(run) // (6 if SYLLABIC.match(run) else 2))
