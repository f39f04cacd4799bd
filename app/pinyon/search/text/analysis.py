"""Text analysis of an index: the terms by which lexical retrieval finds a text, and those of a query. Pure.

An index has one language (then terms.py is the analysis), or the language of each text is detected (AUTO). A namespace
may then hold texts of several languages, and a query may be in any of them. So each word of a query is looked for in
the form that each of these languages gives it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise

import msgspec

from pinyon.search.text import terms as one_language
from pinyon.search.text.languages import BEGINNING, ENGLISH, detect, has_other_script, languages, latin, script_of
from pinyon.search.text.terms import (
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


def certain_languages(texts: Iterable[str]) -> Counter[str]:
    """How many of the texts are certainly in each language, by their beginnings."""
    detected = (detect(*tokens(text[:BEGINNING])) for text in texts)
    return Counter(language for language in detected if language is not None)


def analysed_as(text: str, language: str, analysis: str) -> AnalysedText:
    """Analyse a text whose language was decided before. Its Language says whether the text says so itself.

    language: counts only if the text is uncertain. An unknown one counts as English.
    """
    normalized, words = tokens(text)
    detected = detect(normalized, words)
    decided = detected or (language if language in languages() else ENGLISH)
    return _analysed(normalized, words, Language(decided, detected is not None), analysis)


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
    runs, words = _apart(normalized, words)
    left_out = stop_words(in_languages[0])
    asked = [word for word in words if word not in left_out]
    if not asked and not runs and len(in_languages) > 1:
        asked = words  # of these, _forms() takes those that are no stop words in another language
    if len(in_languages) == 1 and in_languages[0] in latin() and not has_other_script(normalized):
        forms: list[list[Form]] = [[(form, in_languages[0])] for form in stems(asked, in_languages[0])]
    else:
        forms = _forms(asked, in_languages)
    if in_languages[0] == VIETNAMESE:
        forms += [[(pair, VIETNAMESE)] for pair in _pairs(asked)]
    result = [QueryTerm((gram,)) for run in runs for gram in _grams(run, of_query=True)]
    for of_word in forms:
        exact = tuple(dict.fromkeys(_term(form, language) for form, language in of_word))
        if normalized.isascii() or analysis.endswith(KEEP_DIACRITICS):
            result.append(QueryTerm(exact))
            continue
        without = tuple(dict.fromkeys(_term(folded(form), language) for form, language in of_word if folded(form)))
        if without and without != exact:
            result += [QueryTerm(without, 0.5), QueryTerm(exact, 0.5)]
        else:
            result.append(QueryTerm(exact))
    return result


Form = tuple[str, str | None]
"""A stem, and the language that it is one in; None for a word that is left as it is written."""


def _forms(words: list[str], in_languages: Sequence[str]) -> list[list[Form]]:
    """The stems of each word in the languages that do not leave it out. A word that all leave out is not there."""
    stems_in: dict[str | None, list[str]] = {}
    result: list[list[Form]] = []
    for place, word in enumerate(words):
        of_word: list[Form] = []
        for language in dict.fromkeys(language_of_word(word, language) for language in in_languages):
            if word not in stop_words(language):
                if language not in stems_in:
                    stems_in[language] = stems(words, language)
                of_word.append((stems_in[language][place], language))
        if of_word:
            result.append(of_word)
    return result


def language_of_word(word: str, language: str) -> str | None:
    """As what a word is stemmed in a text of this language: words of another script are in another language.

    Latin words in a text of another script are taken for English ones. None: not stemmed.
    """
    of_script = script_of(word)
    if not of_script:
        return language if language in latin() else ENGLISH
    return language if language in of_script else None


def _term(form: str, language: str | None) -> str:
    """The term of a stem. Stems of other languages than English are kept apart: a German "haus" is no English one.

    Otherwise the German stem of "login" would find every English "log". Numbers are the same in every language.
    """
    return form if language is None or language == ENGLISH or form.isdecimal() else f"{form}|{language}"


def detects(analysis: str) -> bool:
    """Whether the language of each text is detected."""
    return analysis.removesuffix(KEEP_DIACRITICS) == AUTO


def most_frequent(texts: Mapping[str, int]) -> str:
    """The language with most texts; English if there are none, and if it has as many as another."""
    return max(sorted(texts), key=lambda name: (texts[name], name == ENGLISH), default=ENGLISH)


def _analysed(normalized: str, words: list[str], language: Language, analysis: str) -> AnalysedText:
    runs, words = _apart(normalized, words)
    by_language: dict[str | None, list[str]] = {}
    if language.name in latin() and not has_other_script(normalized):
        by_language[language.name] = words
    else:
        for word in words:
            by_language.setdefault(language_of_word(word, language.name), []).append(word)
    folds = not normalized.isascii() and not analysis.endswith(KEEP_DIACRITICS)
    result: list[str] = []
    length = 0
    for name, of_language in by_language.items():
        left_out = stop_words(name)
        of_language = [word for word in of_language if word not in left_out]
        length += len(of_language)
        forms = stems(of_language, name)
        if name == VIETNAMESE:
            forms += _pairs(of_language)
        if folds:
            forms = [form for stem in forms for form in dict.fromkeys((folded(stem), stem)) if form]
        result += forms if name is None or name == ENGLISH else [_term(form, name) for form in forms]
    result += [gram for run in runs for gram in _grams(run, of_query=False)]
    return AnalysedText(result, length + sum(_words_in(run) for run in runs), language)


def _apart(normalized: str, words: list[str]) -> tuple[list[str], list[str]]:
    """The words in scripts without spaces, and the others."""
    if normalized.isascii():
        return [], words
    runs = [word for word in words if UNSPACED_RUN.match(word)]
    return runs, [word for word in words if not UNSPACED_RUN.match(word)] if runs else words


@cache
def stop_words(language: str | None) -> frozenset[str]:
    """The words that are left out. In English these are the few that indexes of one language leave out."""
    if language == ENGLISH:
        return STOP_WORDS
    return languages()[language].stop_words if language in languages() else frozenset()


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
