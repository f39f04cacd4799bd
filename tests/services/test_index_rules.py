"""The index of the settings, and the one on disk."""

from typing import Any

import msgspec
import pytest
from pinyon.domain import EmbedSpec, IndexSpec, Mix
from pinyon.errors import FailedPrecondition
from pinyon.services.control_plane.settings_rules import check_same, following


def spec(**embed: Any) -> IndexSpec:
    return IndexSpec("docs", 8, "cosine", EmbedSpec("any", "text", **embed))


def test_settings_without_a_language_fit_an_index_from_when_that_was_english() -> None:
    check_same(spec(language="auto"), spec(language="auto"))
    check_same(spec(language="english"), spec(language="auto"))
    before_there_were_languages = msgspec.json.decode(b'{"model": "any", "text_field": "text"}', type=EmbedSpec)
    check_same(msgspec.structs.replace(spec(), embed=before_there_were_languages), spec(language="auto"))


def test_settings_without_a_mix_fit_an_index_that_was_tuned() -> None:
    tuned, plain = spec(mix=Mix(words=2)), spec()
    check_same(tuned, plain)
    calibrated = spec(mix=Mix(words=2), calibration={"dense": ((0.0, 0.5),)})
    for wanted in (
        plain,
        tuned,
        spec(calibration=calibrated.embed.calibration if calibrated.embed else {}),
        calibrated,
    ):
        check_same(calibrated, wanted)
    with pytest.raises(FailedPrecondition, match="mix is the default on disk"):
        check_same(plain, tuned)


@pytest.mark.parametrize(
    ("existing", "wanted", "said"),
    [
        (spec(language="german"), spec(language="auto"), "language is german on disk and the default in the settings"),
        (
            spec(language="auto"),
            spec(language="english"),
            "language is the default on disk and english in the settings",
        ),
        (spec(diacritics="keep"), spec(language="auto"), "diacritics is keep on disk and the default in the settings"),
    ],
)
def test_a_difference_from_the_settings_is_named(existing: IndexSpec, wanted: IndexSpec, said: str) -> None:
    with pytest.raises(FailedPrecondition, match=said):
        check_same(existing, wanted)


def test_an_index_follows_the_settings_in_what_changes_no_stored_vector() -> None:
    old = spec(language="english", mix=Mix(words=2), calibration={"dense": ((0.0, 0.5),)})
    wanted = spec(language="auto", retrieval="hybrid", read_truncate="NONE", token_vectors="stored")
    assert following(old, wanted) == spec(
        language="english",
        retrieval="hybrid",
        read_truncate="NONE",
        token_vectors="stored",
        mix=Mix(words=2),
        calibration={"dense": ((0.0, 0.5),)},
    )
    assert following(spec(language="german"), spec(language="auto")) == spec(language="auto")
    assert following(old, spec(mix=Mix(words=3))) == spec(language="english", mix=Mix(words=3))
    assert following(old, spec(language="english")) == old


@pytest.mark.parametrize("wanted", [{"sparse_model": "splade-tiny"}, {"model": "other"}, {"text_field": "body"}])
def test_what_would_change_stored_vectors_is_refused(wanted: Any) -> None:
    other = spec()
    assert other.embed is not None
    with pytest.raises(FailedPrecondition, match="differs from the settings"):
        following(spec(), msgspec.structs.replace(other, embed=msgspec.structs.replace(other.embed, **wanted)))
