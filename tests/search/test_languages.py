"""The detection of languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.search.text.languages import ENGLISH, detect, languages, script_of
from pinyon.search.text.terms import tokens


def language_of(text: str, candidates: set[str] | None = None) -> str | None:
    return detect(*tokens(text), candidates=candidates)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("english", "The lease of the office ends in May, and we have to be out by then."),
        ("english", "Notes on the avoidance of an exponent overflow"),
        ("english", "He said that “Der Spiegel” was the magazine which was read most in Germany."),
        ("german", "Der Mietvertrag für das Büro endet im Mai, und wir müssen bis dahin ausziehen."),
        ("dutch", "Het huurcontract van het kantoor loopt af in mei en dan moeten wij weg zijn."),
        ("french", "Le bail du bureau se termine en mai, et nous devons être partis avant."),
        ("spanish", "El contrato de la oficina termina en mayo y tenemos que irnos antes."),
        ("portuguese", "O contrato do escritório acaba em maio e não podemos ficar depois."),
        ("italian", "Il contratto dell'ufficio scade a maggio e dobbiamo andare via prima che sia tardi."),
        ("romanian", "Contractul pentru birou se termină în mai și trebuie să plecăm până atunci."),
        ("turkish", "Bu ofisin sözleşmesi mayıs ayında bitiyor ve daha sonra kalmak için çok geç olacak."),
        ("polish", "Umowa na biuro kończy się w maju i nie możemy tam być po tym czasie."),
        ("swedish", "Avtalet för kontoret går ut i maj och vi måste vara ute till dess."),
        ("finnish", "Toimiston sopimus päättyy toukokuussa, ja meidän on oltava poissa siihen mennessä."),
        ("hungarian", "Az iroda szerződése májusban lejár, és addigra el kell mennünk onnan."),
        ("vietnamese", "Hợp đồng thuê văn phòng kết thúc vào tháng năm và chúng tôi phải rời đi."),
        ("russian", "Договор на офис заканчивается в мае, и мы должны съехать до этого."),
        ("russian", "Красная площадь"),
        ("ukrainian", "Договір на офіс закінчується у травні, і ми маємо виїхати до того часу."),
        ("bulgarian", "Договорът за офиса изтича през май и ние трябва да сме излезли от него."),
        ("greek", "Το συμβόλαιο του γραφείου λήγει τον Μάιο και πρέπει να φύγουμε."),
        ("arabic", "ينتهي عقد المكتب في شهر مايو ويجب أن نخرج قبل ذلك."),
        ("persian", "قرارداد دفتر در ماه مه تمام می‌شود و ما باید تا آن زمان برویم که دیر نشود."),
        ("hindi", "कार्यालय का अनुबंध मई में समाप्त होता है और हमें जाना होगा।"),
        ("tamil", "அலுவலக ஒப்பந்தம் மே மாதத்தில் முடிகிறது"),
    ],
)
def test_a_sentence_tells_its_language(language: str, text: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "Wolfsburg",
        "Café de la Paix",
        "iPhone 15 Pro",
        "find . -name '*.txt' -type d -exec rm {} +",
        "E = m c d / s t",
        "東京タワー",
        "ภาษาไทย",
        "שלום עולם",
    ],
)
def test_names_code_and_scripts_without_stems_are_in_no_certain_language(text: str) -> None:
    assert language_of(text) is None


def test_a_short_text_is_told_by_fewer_languages() -> None:
    assert language_of("der Hund") is None
    assert language_of("der Hund", {"english", "german"}) == "german"
    assert language_of("der Hund", {"english", "french"}) is None


def test_english_needs_less_evidence_than_others() -> None:
    assert language_of("the history of Die Zeit") == ENGLISH
    assert language_of("Die Zeit is one of their newspapers, and der Spiegel is not") == ENGLISH


def test_a_word_is_of_the_languages_of_its_script() -> None:
    assert script_of("word") == script_of("über") == script_of("42") == script_of("東京") == ()
    assert script_of("слово")[0] == "russian"


@pytest.mark.parametrize("name", languages())
def test_stop_words_are_as_texts_have_them(name: str) -> None:
    for word in languages()[name].stop_words:
        assert tokens(word) == (word, [word])


@given(st.text(max_size=200))
def test_any_text_is_in_a_known_language_or_in_none(text: str) -> None:
    assert language_of(text) in (None, *languages())
