"""A model that does not know the language of a query decides less."""

import pytest
from pinyon.search.text.known_languages import OTHER_LANGUAGE, OTHER_SCRIPT, similarity_weight

ENGLISH = ("english",)


@pytest.mark.parametrize(
    ("query", "weight"),
    [
        ("what is the name of the largest river in the world", 1.0),
        ("error E1234", 1.0),
        ("naïve café", 1.0),
        ("1234 + 99", 1.0),
        ("", 1.0),
        ("wie heißt der größte Fluss und wo liegt er", OTHER_LANGUAGE),
        ("¿cuál es el río más largo del mundo y dónde está?", OTHER_LANGUAGE),
        ("Warum bellen die Hunde in der Nacht?", OTHER_LANGUAGE),
        ("comment faire du pain avec de la farine", OTHER_LANGUAGE),
        ("La Traviata by Giuseppe Verdi", 1.0),
        ("how many people live in Los Angeles and San Jose", 1.0),
        ("dog food", 1.0),  # dog and war are function words of Danish and German
        ("world war 2", 1.0),
        ("tom cruise", 1.0),
        ("Wann war der Krieg?", OTHER_LANGUAGE),
        ("ما هو أطول نهر في العالم", OTHER_SCRIPT),
        ("世界上最长的河流是哪一条", OTHER_SCRIPT),
        ("แม่น้ำที่ยาวที่สุดในโลกคืออะไร", OTHER_SCRIPT),
        ("самая длинная река в мире", OTHER_SCRIPT),
        ("סמארטפון", OTHER_SCRIPT),
    ],
)
def test_an_english_model_counts_by_the_language_of_the_query(query: str, weight: float) -> None:
    assert similarity_weight(query, ENGLISH) == weight
    assert similarity_weight(query, ()) == 1.0


def test_a_known_language_counts_in_full() -> None:
    assert similarity_weight("wie heißt der größte Fluss und wo liegt er", ("english", "german")) == 1.0
