"""The analysis of texts whose languages are detected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.search.text.analysis import (
    AUTO,
    LANGUAGES,
    QueryTerm,
    analysed,
    analysed_as,
    language_of_word,
    query_languages,
    query_terms,
    stop_words,
)
from pinyon.search.text.terms import KEEP_DIACRITICS, terms, tokens
from pinyon.search.text.terms import query_terms as query_terms_of_one_language

GERMAN = "Die Häuser stehen an dem Fluss und nicht in der Stadt"
ENGLISH = "The houses are on the river, and this is not in the town"


def test_each_text_is_stemmed_in_its_own_language() -> None:
    german, english = analysed([GERMAN, ENGLISH], AUTO)
    assert (german.language and german.language.name, english.language and english.language.name) == (
        "german",
        "english",
    )
    assert german.terms == ["haus|german", "steh|german", "fluss|german", "stadt|german"]
    assert english.terms == ["hous", "river", "town"]


def test_english_texts_have_the_terms_of_an_english_index() -> None:
    for text in (ENGLISH, "Rotating pumps, 3.5 bar", "find . -name x", ""):
        (of_text,) = analysed([text], AUTO)
        assert (of_text.terms, of_text.words) == (terms(text, "english"), len(terms(text, "english")))
        assert query_terms(text, AUTO, query_languages(text, AUTO, {"english": 9})) == [
            QueryTerm((term,)) for term in query_terms_of_one_language(text, "english")
        ]


@pytest.mark.parametrize("language", ["german", "english", "none", "turkish"])
def test_an_index_of_one_language_is_analysed_as_before(language: str) -> None:
    for text in (GERMAN, ENGLISH, "café 東京タワー ภาษาไทย"):
        (of_text,) = analysed([text], language)
        assert (of_text.terms, of_text.words, of_text.language) == (
            terms(text, language),
            len(terms(text, language)),
            None,
        )
        found = query_terms(text, language, query_languages(text, language, {}))
        assert found == [QueryTerm((term,)) for term in query_terms_of_one_language(text, language)]


def test_a_text_of_uncertain_language_is_taken_for_one_as_most_others_are() -> None:
    def language(*texts: str, known: dict[str, int] | None = None) -> str:
        of_text = analysed(texts, AUTO, known or {})[-1].language
        assert of_text is not None and not of_text.certain
        return of_text.name

    title = "Neue Häuser"
    assert language(title) == "english"
    assert language(title, known={"german": 3, "french": 2}) == "german"
    assert language(title, known={"german": 3, "english": 3}) == "english"
    assert language(GERMAN, title) == "german"
    assert language(GERMAN, ENGLISH, title) == "english"


def test_a_word_is_asked_for_as_each_language_of_the_namespace_has_it() -> None:
    assert query_languages("Häuser", AUTO, {"english": 2, "german": 7}) == ("german", "english")
    assert query_languages(ENGLISH, AUTO, {"english": 2, "german": 7}) == ("english", "german")
    assert query_languages(ENGLISH, AUTO, {"german": 7}) == ("german",)
    assert query_languages("Häuser", AUTO, {}) == ("english",)
    assert query_terms("heating", AUTO, ("english", "german")) == [QueryTerm(("heat", "heating|german"))]
    assert query_terms("heating", AUTO, ("english",)) == [QueryTerm(("heat",))]


def test_a_word_of_another_script_is_in_another_language() -> None:
    (of_text,) = analysed(["Собаки на улицах у the Beatles в 2024"], AUTO)
    assert of_text.terms == ["собак|russian", "улиц|russian", "beatl", "2024"]
    in_russian = [term.forms for term in query_terms("Собаки Beatles 2024", AUTO, ("russian", "german"))]
    assert in_russian == [("собак|russian", "собаки"), ("beatl", "beatl|german"), ("2024",)]


def test_stop_words_are_those_of_the_query() -> None:
    assert [term.forms for term in query_terms("the war in", AUTO, ("english", "german"))] == [("war",)]
    assert query_terms("Haus war in der", AUTO, ("german", "english")) == [QueryTerm(("haus|german", "haus"))]
    assert query_terms("war in der", AUTO, ("german", "english")) == [QueryTerm(("war",)), QueryTerm(("der",))]
    assert query_terms("the", AUTO, ("english", "german")) == [QueryTerm(("the|german",))]
    assert query_terms("the", AUTO, ("english",)) == []


def test_a_word_with_diacritics_counts_as_one() -> None:
    (of_text,) = analysed(["the café in Paris"], AUTO)
    assert (of_text.terms, of_text.words) == (["cafe", "café", "pari"], 2)
    of_query = query_terms("café", AUTO, ("english",))
    assert of_query == [QueryTerm(("cafe",), 0.5), QueryTerm(("café",), 0.5)]
    assert query_terms("cafe", AUTO, ("english",)) == [QueryTerm(("cafe",))]
    assert query_terms("café", AUTO + KEEP_DIACRITICS, ("english",)) == [QueryTerm(("café",))]


def test_scripts_without_spaces_have_pairs_or_triples() -> None:
    thai, chinese = analysed(["ภาษาไทย", "東京タワー"], AUTO)
    assert {"ไทย", "ทย"} <= set(thai.terms) and {"東", "東京"} <= set(chinese.terms)
    assert [term.forms for term in query_terms("ไทย", AUTO, ("english",))] == [("ไทย",)]
    assert [term.forms for term in query_terms("東京タ", AUTO, ("english",))] == [("東京",), ("京タ",)]
    assert thai.words < len(thai.terms) and chinese.words < len(chinese.terms)


def test_vietnamese_words_are_pairs_of_syllables_too() -> None:
    (of_text,) = analysed(["Chúng tôi sống ở thành phố này và không muốn rời đi"], AUTO)
    assert of_text.language is not None and of_text.language.name == "vietnamese"
    assert "thành_phố|vietnamese" in of_text.terms


def test_what_was_decided_about_a_text_counts_if_the_text_is_uncertain() -> None:
    for decided, wanted in (("german", "german"), ("klingon", "english"), ("", "english")):
        of_text = analysed_as("Neue Häuser", decided, AUTO).language
        assert of_text is not None and (of_text.name, of_text.certain) == (wanted, False)
    of_text = analysed_as(GERMAN, "english", AUTO).language
    assert of_text is not None and (of_text.name, of_text.certain) == ("german", True)


WORDS = st.sampled_from(
    [
        *[
            "der",
            "die",
            "und",
            "Häuser",
            "the",
            "and",
            "houses",
            "война",
            "и",
            "дома",
            "les",
            "maisons",
            "dans",
            "das",
            "東京",
            "ภาษาไทย",
            "café",
            "x1",
            "В",
        ],
        "şehir",
    ]
)
TEXTS = st.lists(WORDS, max_size=9).map(" ".join)


@given(texts=st.lists(TEXTS, min_size=1, max_size=5), analysis=st.sampled_from([AUTO, AUTO + KEEP_DIACRITICS]))
def test_every_word_of_a_text_finds_the_text(texts: list[str], analysis: str) -> None:
    of_texts = analysed(texts, analysis)
    of_languages: dict[str, int] = {}
    for of_text in of_texts:
        assert of_text.language is not None
        of_languages[of_text.language.name] = of_languages.get(of_text.language.name, 0) + 1
    for text, of_text in zip(texts, of_texts, strict=True):
        assert of_text.language is not None
        assert analysed_as(text, of_text.language.name, analysis) == of_text
        for word in set(tokens(text)[1]):
            if word in stop_words(language_of_word(word, of_text.language.name)):
                continue
            asked = query_terms(word, analysis, query_languages(word, analysis, of_languages))
            assert asked and all(set(term.forms) & set(of_text.terms) for term in asked), word


@given(st.text(max_size=60), st.sampled_from(LANGUAGES))
def test_any_text_in_any_language_has_terms_without_blanks(text: str, language: str) -> None:
    (of_text,) = analysed([text], language)
    for term in of_text.terms:
        assert term and not any(character.isspace() for character in term)
    assert of_text.words >= 0
    for asked in query_terms(text, language, query_languages(text, language, {"english": 1, "german": 1})):
        assert asked.forms and 0 < asked.weight <= 1
