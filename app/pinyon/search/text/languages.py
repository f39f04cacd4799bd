"""Tells which language a text is in, by its script, its function words and its letters. Pure.

Function words, such as "und" or "the", are a third of all words and differ between languages. So a sentence is enough,
and looking words up costs a few percent of the analysis of a text. Trained detectors know shorter texts too, but take
several times as long as the whole analysis.
"""

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from functools import cache
from importlib.resources import files

import msgspec

ENGLISH = "english"
BEGINNING = 1_000
"""Characters of a text that are read if only its language matters."""
MOST_WORDS = 64
"""Only so many words at the beginning of a text are looked at."""
LEAST_EVIDENCE = 1.0
"""A language needs as much evidence. A word or letter counts 1, divided by the number of languages that have it."""
LEAST_AMONG_ALL = 1.5
"""If every language is possible, those in Latin letters need more, except English."""
LEAST_SHARE = 0.05
"""It also needs evidence in proportion to the number of distinct words."""
LEAST_LEAD = 1.5
"""A language needs so many times the evidence of the next one."""
ENGLISH_LEAD = 2.0
"""Another language needs so many times the evidence of English, which has names and titles from everywhere."""
LETTERS = 1.0
"""The letters of a text are as much evidence as one function word."""


LEAST_OTHER = 0.5
"""Evidence that a text is in none of some languages. Which other one it is in need not be certain then."""


class Language(msgspec.Struct, frozen=True):
    """A language that can be detected. stop_words: its function words, in lower case. letters: that few others have.

    also: its other words, names and abbreviations that are function words of another language, such as "dog" in Danish.
    """

    name: str
    stop_words: frozenset[str]
    letters: frozenset[str]
    also: frozenset[str]


SCRIPTS = {
    "\u0370-\u03ff\u1f00-\u1fff": ("greek",),
    "\u0400-\u052f": ("russian", "ukrainian", "bulgarian", "serbian"),
    "\u0531-\u058f": ("armenian",),
    "\u0600-\u06ff\u0750-\u077f": ("arabic", "persian", "urdu"),
    "\u0900-\u097f": ("hindi", "marathi", "nepali"),
    "\u0b80-\u0bff": ("tamil",),
}
"""Scripts, as ranges of a regular expression's character class, and their languages. The first is the default."""
_SCRIPTS = [(re.compile(f"[{ranges}]"), names) for ranges, names in SCRIPTS.items()]
_OTHER_SCRIPT = re.compile(f"[{''.join(SCRIPTS)}]")


@cache
def languages() -> dict[str, Language]:
    """Every language that can be detected, by name."""
    tables = tomllib.loads(files("pinyon.search").joinpath("stop_words.toml").read_text("utf-8"))
    return {
        name: Language(
            name,
            frozenset(table["words"].split()),
            frozenset(table.get("letters", "")),
            frozenset(table.get("also", "").split()),
        )
        for name, table in tables.items()
    }


def has_other_script(text: str) -> bool:
    """Whether a text has a letter of SCRIPTS."""
    return not text.isascii() and _OTHER_SCRIPT.search(text) is not None


def script_of(word: str) -> tuple[str, ...]:
    """The languages of the script that a word begins in. Empty for digits, Latin letters and scripts without stems."""
    if not word.isascii():
        for script, names in _SCRIPTS:
            if script.match(word):
                return names
    return ()


def detect(text: str, words: Sequence[str], candidates: Collection[str] | None = None) -> str | None:
    """The language of a text, or None if it is uncertain. Other languages than English need more evidence.

    text: in lower case. words: the words of the text. candidates: the languages that are possible; None for all.
    """
    sample = set(words[:MOST_WORDS])
    ours, others = _words_of_english()
    if candidates is None or ENGLISH in candidates:
        of_english, of_others = len(sample & ours), len(sample & others)
        if of_english >= 2 and of_english >= 4 * of_others:  # so most English texts cost next to nothing
            return ENGLISH
    default, possible = None, latin()
    if has_other_script(text):
        scripts = Counter(script_of(word) for word in sample if not word.isdigit())
        script = scripts.most_common(1)[0][0] if scripts else ()
        if script:
            default, possible = script[0], frozenset(script)
    if candidates is not None:
        possible &= frozenset(candidates)
        default = default if default in possible else None
    evidence = _evidence(sample, set() if text.isascii() else set(text), possible)
    ranked = sorted(evidence.items(), key=lambda item: -item[1])
    if not ranked:
        return default
    (best, most), second = ranked[0], ranked[1][1] if len(ranked) > 1 else 0.0
    few = candidates is not None or default is not None or best == ENGLISH
    enough = LEAST_EVIDENCE if few else LEAST_AMONG_ALL
    if most < max(enough, LEAST_SHARE * len(sample)) or most < LEAST_LEAD * second:
        return default
    if best != ENGLISH and most < ENGLISH_LEAD * evidence.get(ENGLISH, 0.0):
        return default
    return best


def is_in_another(text: str, words: Sequence[str], known: Collection[str]) -> bool:
    """Whether a text in Latin letters is in another language than these. False if nothing tells.

    It is often clear that a short question is not English, and not which of two languages it is in. Words that a known
    language has too tell nothing alone: "dog" is a function word of Danish.
    text: in lower case. words: the words of the text.
    """
    sample, letters = set(words[:MOST_WORDS]), set() if text.isascii() else set(text)
    shared = frozenset[str]().union(*(languages()[name].also for name in known))
    evidence = _evidence(sample, letters, latin())
    of_known = max((evidence.get(name, 0.0) for name in known), default=0.0)
    # Letters alone do not tell either: English has café and naïve.
    others = _evidence(sample - shared, set(), latin()).keys() - set(known)
    return max((evidence[name] for name in others), default=0.0) >= max(LEAST_OTHER, ENGLISH_LEAD * of_known)


def _evidence(words: set[str], letters: set[str], possible: frozenset[str]) -> dict[str, float]:
    """How much of a text speaks for each possible language."""
    evidence: defaultdict[str, float] = defaultdict(float)
    table = _languages_of_words()
    for word in words & table.keys():
        having = [name for name in table[word] if name in possible]
        for name in having:
            evidence[name] += 1 / len(having)
    having = [name for name in possible if letters & languages()[name].letters]
    for name in having:
        evidence[name] += LETTERS / len(having)
    return evidence


@cache
def _languages_of_words() -> dict[str, list[str]]:
    """The languages that have each function word."""
    table: dict[str, list[str]] = {}
    for language in languages().values():
        for word in language.stop_words:
            if len(word) == 1 and word.isascii():
                continue  # in code and formulas, a single letter says nothing
            table.setdefault(word, []).append(language.name)
    return table


@cache
def _words_of_english() -> tuple[frozenset[str], frozenset[str]]:
    """The function words of English, and those of all other languages that are none in English."""
    ours = languages()[ENGLISH].stop_words
    return ours, frozenset(_languages_of_words().keys() - ours)


@cache
def latin() -> frozenset[str]:
    """The languages that are written in Latin letters."""
    return frozenset(languages().keys() - {name for names in SCRIPTS.values() for name in names})
