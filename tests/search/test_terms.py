"""The terms of lexical retrieval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.search.text import terms as module
from pinyon.search.text.terms import LANGUAGES, query_terms, stems, terms


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("The apples, and the Apple's core!", "english", ["appl", "appl", "core"]),
        ("e-mail C++ 3.14 snake_case", "english", ["e", "mail", "c", "3", "14", "snake", "case"]),
        ("Die Häuser und das Haus", "german", ["die", "haus", "und", "das", "haus"]),
        ("Running runners", "none", ["running", "runners"]),
        ("\uff26\uff55\uff4c\uff4c \uff57ide", "none", ["full", "wide"]),
        ("東京タワー", "english", ["東", "京", "タ", "ワ", "ー", "東京", "京タ", "タワ", "ワー"]),
        ("東 京", "english", ["東", "京"]),
        ("iPhone東京2024", "english", ["iphon", "東", "京", "東京", "2024"]),
        ("бегущие бежит", "russian", ["бегущ", "беж"]),
        ("हिन्दी किताब", "none", ["हिन्दी", "किताब"]),
        ("café CAFÉ cafe\u0301", "none", ["cafe", "café"] * 3),
        ("café", "none+diacritics", ["café"]),
        ("Über Straße", "none", ["uber", "über", "strasse", "straße"]),
        ("мой", "none", ["мой"]),
        ("the of and", "english", []),
        ("Model S", "porter", ["model", "s"]),
        ("", "english", []),
        ("🚀 !!! \n", "english", []),
    ],
)
def test_texts_have_these_terms(text: str, language: str, found: list[str]) -> None:
    assert terms(text, language) == found


def test_queries_have_the_terms_that_tell_most() -> None:
    assert query_terms("東京タワー", "english") == ["東京", "京タ", "タワ", "ワー"]
    assert query_terms("猫", "english") == ["猫"]
    assert query_terms("한국어", "english") == ["한국", "국어"]


@given(st.text(max_size=60), st.sampled_from(LANGUAGES))
def test_any_text_in_any_language_has_terms_without_blanks(text: str, language: str) -> None:
    for term in terms(text, language):
        assert term and not any(character.isspace() for character in term)


def test_a_stemmer_works_for_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stemmer:
        def stemWords(self, words: list[str]) -> list[str]:
            assert not module._stemming.acquire(blocking=False)
            return words

    monkeypatch.setattr(module, "_stemmer", lambda language: Stemmer())
    assert stems(["houses"], "english") == ["houses"]
    assert module._stemming.acquire(blocking=False)
    module._stemming.release()
