"""How much the similarity of an embedding model counts for a query, by the languages that the model knows. Pure.

A model still gives cosines for texts in a language that it does not know. They are mostly noise. Words are not.
"""

import unicodedata
from collections.abc import Collection

from pinyon.search.text.languages import BEGINNING, is_in_another
from pinyon.search.text.terms import tokens

OTHER_LANGUAGE, OTHER_SCRIPT = 0.5, 0.125
"""Weights of a similarity if the query is in another language, and in another script, than the model knows. A model
shares some words between languages of one script, and hardly any between scripts; see docs/notes/relevance.md."""


def similarity_weight(query: str, known: Collection[str]) -> float:
    """The weight of the similarity in the mix, from OTHER_SCRIPT to 1.

    known: languages in Latin letters that the model knows; empty if it knows many. A query that does not tell its
    language is taken for one that the model knows.
    """
    if not known:
        return 1.0
    normalized, words = tokens(query[:BEGINNING])
    letters = [character for character in normalized if character.isalpha()]
    if 2 * sum(map(_is_latin, letters)) < len(letters):
        return OTHER_SCRIPT
    return OTHER_LANGUAGE if is_in_another(normalized, words, known) else 1.0


def knows(known: Collection[str], query: str) -> bool:
    """Whether a model knows the language of a query. known: as in similarity_weight()."""
    return similarity_weight(query, known) == 1.0


def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN ")
