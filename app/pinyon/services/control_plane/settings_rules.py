"""Compares the index that a settings file describes with the one on disk. Pure, like index_rules."""

import msgspec

from pinyon.domain import EmbedSpec, IndexSpec
from pinyon.errors import FailedPrecondition
from pinyon.inference.catalog import Catalog
from pinyon.search.text.analysis import AUTO
from pinyon.services.control_plane import index_rules, mix_rules
from pinyon.settings import IndexSettings


def from_settings(settings: IndexSettings, catalog: Catalog, max_dimension: int) -> IndexSpec:
    """The spec of the index that a settings file describes. max_dimension: the limit of the engine."""
    if not settings.model:
        dimension, metric = settings.dimension or None, settings.metric or None
        return index_rules.plain(settings.name, settings.vector_type, dimension, metric, max_dimension)
    return index_rules.integrated(
        catalog,
        settings.name,
        settings.model,
        {"text": settings.field_map["text"]},
        settings.dimension or None,
        settings.metric or None,
        settings.read_parameters,
        settings.write_parameters,
    )


def following(existing: IndexSpec, wanted: IndexSpec) -> IndexSpec:
    """The spec of the index on disk once it follows the settings, as far as no stored vector has to be another one.

    Raises FailedPrecondition as check_same() does for what cannot be changed: metric, dimension, model, text field and
    sparse_model.
    """
    if existing.embed is None or wanted.embed is None:
        check_same(existing, wanted)
        return existing
    old, new = existing.embed, wanted.embed
    if new.language == AUTO and old.language == "english":
        new = msgspec.structs.replace(new, language=old.language)
    if new.mix is None:
        new = msgspec.structs.replace(new, mix=old.mix)
    if not new.calibration and new.mix == old.mix:  # the curves are of scores by this mix
        new = msgspec.structs.replace(new, calibration=old.calibration)
    changeable = msgspec.structs.replace(new, model=old.model, text_field=old.text_field, sparse_model=old.sparse_model)
    changed = msgspec.structs.replace(existing, embed=changeable)
    check_same(changed, wanted)
    return changed


def check_same(existing: IndexSpec, wanted: IndexSpec) -> None:
    """Raises FailedPrecondition if the index on disk differs from the settings.

    Settings that name no language also fit an index in English, because that was the default of earlier versions.
    A mix or a calibration that the settings do not name may be any, because `pinyon tune` changes them.
    """
    existing = mix_rules.as_wanted(existing, wanted)
    if existing == wanted or existing == _in_english(wanted):
        return
    raise FailedPrecondition(
        f"Index {wanted.name} on disk differs from the settings: {differences(existing, wanted)}. Change the settings "
        "back, give the new index another name, or, for another model, change them back and run `pinyon reembed`"
    )


def differences(existing: IndexSpec, wanted: IndexSpec) -> str:
    """What differs, in words."""
    flat_existing, flat_wanted = _flat(existing), _flat(wanted)
    return ", ".join(
        f"{name} is {flat_existing.get(name, 'the default')} on disk and "
        f"{flat_wanted.get(name, 'the default')} in the settings"
        for name in {**flat_wanted, **flat_existing}
        if flat_existing.get(name) != flat_wanted.get(name)
    )


def _in_english(spec: IndexSpec) -> IndexSpec:
    if spec.embed is None or spec.embed.language != AUTO:
        return spec
    return msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, language="english"))


def _flat(spec: IndexSpec) -> dict[str, object]:
    embed = spec.embed or EmbedSpec("", "", language=AUTO)
    return {
        "metric": spec.metric,
        "dimension": spec.dimension,
        "model": embed.model,
        "field_map.text": embed.text_field,
        **{f"read_parameters.{key}": value for key, value in index_rules.parameters(embed, "read").items()},
        **{f"write_parameters.{key}": value for key, value in index_rules.parameters(embed, "write").items()},
    }
