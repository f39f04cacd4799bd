"""Checks names, tags, schemas and models of indexes by Pinecone's rules, and makes an IndexSpec of them.

Pure, except that models are looked up in the catalogue. The functions raise InvalidArgument, which says what was wrong
and what is allowed, and NotFound for an unknown model.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from pinyon.domain import Diacritics, EmbedSpec, IndexDetails, IndexSpec, Metric, Retrieval, TokenVectors
from pinyon.errors import InvalidArgument, NotFound
from pinyon.inference.catalog import Catalog
from pinyon.inference.model_files.manifest import ModelEntry
from pinyon.search.text.analysis import AUTO, LANGUAGES
from pinyon.services.control_plane import mix_rules
from pinyon.services.inference import model_parameters
from pinyon.services.inference.model_parameters import whole
from pinyon.settings import INDEX_NAME, TEXT_FIELD

MAX_TAGS = 20
MAX_SCHEMA_FIELDS = 50
_TAG_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9;@_.+ -]{0,120}")
CLOUDS = ("aws", "gcp", "azure")
NO_MODEL = "none"
"""The sparse_model of an index without one."""


class IndexOptions(msgspec.Struct, frozen=True):
    """The properties of a new index that are not in its spec, as a request gives them. None or empty: not given.

    details() checks them.
    """

    cloud: str = "aws"
    region: str = "us-east-1"
    deletion_protection: bool = False
    tags: Mapping[str, str] = {}
    schema: Mapping[str, Any] | None = None
    read_capacity: Mapping[str, Any] | None = None


def name(value: str) -> str:
    """Check the name of an index."""
    if not re.match(INDEX_NAME, value) or value == "create-for-model":
        raise InvalidArgument(
            "Name must consist of lower case alphanumeric characters or '-', must begin and end with an alphanumeric "
            f"character, and must have 1 to 45 characters, got '{value[:80]}'"
        )
    return value


def tags(current: Mapping[str, str], change: Mapping[str, str]) -> dict[str, str]:
    """The tags after a change. An empty value removes a tag."""
    for key, value in change.items():
        if not _TAG_NAME.fullmatch(key):
            raise InvalidArgument(
                f"Tag key '{key[:100]}' must have 1 to 80 characters: letters, digits, underscores and hyphens"
            )
        if not _TAG_VALUE.fullmatch(value):
            raise InvalidArgument(
                f"The value of tag '{key}' must have at most 120 characters: letters, digits, spaces and ; @ _ - . +"
            )
    changed = {key: value for key, value in {**current, **change}.items() if value}
    if len(changed) > MAX_TAGS:
        raise InvalidArgument(f"An index may have at most {MAX_TAGS} tags, got {len(changed)}")
    return changed


def place(cloud: str, region: str) -> None:
    """Check the cloud and region of an index. They are stored and returned, but have no effect. Raises NotFound."""
    if cloud not in CLOUDS or not region:
        raise NotFound(f"Resource cloud: {cloud} region: {region} not found. Clouds are {', '.join(CLOUDS)}")


def metadata_schema(schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Check the declared metadata fields of an index: {"fields": {name: {"filterable": true}}}.

    The declaration has no effect, because every field is filterable.
    """
    if schema is None:
        return None
    if len(schema["fields"]) > MAX_SCHEMA_FIELDS:
        raise InvalidArgument(f"A schema may have at most {MAX_SCHEMA_FIELDS} fields, got {len(schema['fields'])}")
    for field, properties in schema["fields"].items():
        if not field or field[0] in "_$":
            raise InvalidArgument(
                f"A field of a schema must have a name that does not begin with _ or $, got '{field}'"
            )
        if properties != {"filterable": True}:
            raise InvalidArgument(f"Only filterable: true is allowed in a schema, field '{field}' has another value")
    return dict(schema)


def read_capacity(raw: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Check the read capacity of an index. It is stored and returned, but has no effect. None stands for on demand."""
    mode = None if raw is None else raw.get("mode") or "OnDemand"
    if raw is None or mode == "OnDemand":
        return None
    dedicated = raw.get("dedicated")
    if mode != "Dedicated" or not isinstance(dedicated, dict):
        raise InvalidArgument("read_capacity must have the mode OnDemand, or Dedicated and a table 'dedicated'")
    node_type, scaling, manual = (dedicated.get(key) for key in ("node_type", "scaling", "manual"))
    if not isinstance(node_type, str) or scaling != "Manual":
        raise InvalidArgument("read_capacity.dedicated needs a node_type and the scaling Manual")
    manual = {"shards": 1, "replicas": 1} if manual is None else manual
    if not isinstance(manual, dict):
        raise InvalidArgument("read_capacity.dedicated.manual must be an object")
    shards, replicas = (whole(manual.get(key)) for key in ("shards", "replicas"))
    if type(shards) is not int or type(replicas) is not int or shards < 1 or replicas < 0:
        raise InvalidArgument("read_capacity.dedicated.manual needs shards (1 or more) and replicas (0 or more)")
    return {
        "mode": "Dedicated",
        "dedicated": {
            "node_type": node_type,
            "scaling": "Manual",
            "manual": {"shards": shards, "replicas": replicas},
        },
    }


def plain(index: str, vector_type: str, dimension: int | None, metric: str | None, max_dimension: int) -> IndexSpec:
    """The spec of an index for vectors that callers bring.

    metric: in upper or lower case; None for the default of the vector type. max_dimension: the limit of the engine.
    """
    if vector_type not in ("dense", "sparse"):
        raise InvalidArgument(f"vector_type must be dense or sparse, got '{vector_type}'")
    sparse = vector_type == "sparse"
    chosen = _metric(metric or ("dotproduct" if sparse else "cosine"))
    if sparse:
        if dimension:
            raise InvalidArgument("A sparse index has no dimension")
        if chosen != "dotproduct":
            raise InvalidArgument(f"Sparse vector indexes must use the metric dotproduct, got {chosen}")
        return IndexSpec(name(index), 0, chosen)
    if dimension is None:
        raise InvalidArgument("A dense index needs a dimension")
    if not 1 <= dimension <= max_dimension:
        raise InvalidArgument(f"dimension must be between 1 and {max_dimension}, got {dimension}")
    return IndexSpec(name(index), dimension, chosen)


def integrated(
    catalog: Catalog,
    index: str,
    model: str,
    field_map: Mapping[str, str],
    dimension: int | None = None,
    metric: str | None = None,
    read: Mapping[str, Any] | None = None,
    write: Mapping[str, Any] | None = None,
) -> IndexSpec:
    """The spec of an index that embeds text. The model gives the default of every value that is None.

    read, write: parameters for queries and for texts.
    """
    try:
        entry = catalog.embedding_entry(model)
    except NotFound as error:  # Pinecone's message, then the known models
        raise NotFound(f"Model {model} not found. {error.message}") from None
    read, retrieval = _own(read, "retrieval", get_args(Retrieval), "dense")
    read, mix, calibration = mix_rules.taken_out(read)
    write, language = _own(write, "language", LANGUAGES, AUTO)
    write, diacritics = _own(write, "diacritics", get_args(Diacritics), "fold")
    write, token_vectors = _own(write, "token_vectors", get_args(TokenVectors), "none")
    if entry.kind == "sparse" and (mix is not None or calibration):
        raise InvalidArgument("A sparse index has one side; 'mix' and 'calibration' are for dense indexes")
    write, words_by = _own(write, "sparse_model", _sparse_models(catalog), NO_MODEL)
    differs = (retrieval, diacritics, words_by) != ("dense", "fold", NO_MODEL)
    if entry.kind == "sparse" and (differs or language not in (AUTO, "english")):
        raise InvalidArgument(
            "Sparse indexes are searched by their own terms; retrieval, language, diacritics and sparse_model are for "
            "dense ones"
        )
    if entry.kind == "sparse" and token_vectors != "none":
        raise InvalidArgument("Sparse models have no token vectors to store; 'token_vectors' is for dense indexes")
    read, write = _parameters(model, entry, read), _parameters(model, entry, write)
    chosen = _metric(metric or entry.metrics[0])
    if chosen not in entry.metrics:
        raise InvalidArgument(
            f"Model '{model}' does not support the metric {chosen}; it supports {', '.join(entry.metrics)}"
        )
    wanted = {value for value in (dimension, read.pop("dimension", None), write.pop("dimension", None)) if value}
    if len(wanted) > 1:
        raise InvalidArgument(f"The index has one dimension, but the request names {sorted(wanted)}")
    if entry.kind == "sparse" and wanted:
        raise InvalidArgument(f"Model '{model}' is sparse; an index of it has no dimension")
    length = next(iter(wanted), int(entry.dimension or 0))
    if entry.kind == "embed":
        catalog.check_dimension(model, length)
    embed = embed_spec(model, field_map, read, write)
    own: Any = {
        "retrieval": retrieval,
        "mix": mix,
        "calibration": calibration,
        "language": language,
        "diacritics": diacritics,
        "sparse_model": "" if words_by == NO_MODEL else words_by,
        "token_vectors": token_vectors,
    }
    return IndexSpec(name(index), length, chosen, msgspec.structs.replace(embed, **own))


def _own(given: Mapping[str, Any] | None, key: str, allowed: Sequence[str], default: str) -> tuple[dict[str, Any], str]:
    """Take out a parameter that only Pinyon has. Returns the other parameters, and its value."""
    others = dict(given or {})
    value = others.pop(key, None)
    if value is None:
        return others, default
    if value not in allowed:
        raise InvalidArgument(f"The parameter '{key}' must be one of {', '.join(allowed)}, got {value!r}")
    return others, value


def _sparse_models(catalog: Catalog) -> list[str]:
    return [*catalog.learned_sparse_models(), NO_MODEL]


def sparse_model(catalog: Catalog, wanted: str | None, current: str) -> str:
    """The learned sparse model of an index after a change, empty for none. wanted: as a request gives it."""
    _, chosen = _own({"sparse_model": wanted}, "sparse_model", _sparse_models(catalog), current)
    return "" if chosen == NO_MODEL else chosen


def embed_spec(
    model: str, field_map: Mapping[str, str], read: Mapping[str, Any], write: Mapping[str, Any]
) -> EmbedSpec:
    """The embedding of an index. read, write: parameters that were checked."""
    if "text" not in field_map:
        raise InvalidArgument("Missing required key 'text' in field_map: it names the field that is embedded")
    if len(field_map) > 1:
        raise InvalidArgument("field_map must map 'text', and nothing else, to the field that is embedded")
    field = field_map["text"]
    if not re.match(TEXT_FIELD, field):
        raise InvalidArgument(f"field_map.text must be a field that a record can have, got '{field[:80]}'")
    return EmbedSpec(
        model=model,
        text_field=field,
        read_truncate=read.get("truncate") or "END",
        write_truncate=write.get("truncate") or "END",
        read_input_type=read.get("input_type") or "query",
        write_input_type=write.get("input_type") or "passage",
        read_max_tokens=read.get("max_tokens_per_sequence"),
        write_max_tokens=write.get("max_tokens_per_sequence"),
    )


def embed_change(catalog: Catalog, current: IndexSpec, change: Mapping[str, Any]) -> IndexSpec:
    """The spec of an index after its embedding was changed, or added to an index of plain vectors.

    change: any of model, field_map, read_parameters and write_parameters. Absent ones stay as they are.
    """
    embed = current.embed
    model = change.get("model") or (embed.model if embed else None)
    if model is None:
        raise InvalidArgument("embed.model must name the model that is to embed for this index")
    if embed is not None and model != embed.model:
        raise InvalidArgument(
            f"The model of index {current.name} is '{embed.model}' and cannot be changed; make another index"
        )
    field_map = change.get("field_map") or ({"text": embed.text_field} if embed else {})
    old_read, old_write = (parameters(embed, "read"), parameters(embed, "write")) if embed else ({}, {})
    new_read = change.get("read_parameters") or {}
    if "mix" in new_read:  # the curves were of scores by the old one
        old_read.pop("calibration", None)
    spec = integrated(
        catalog,
        current.name,
        model,
        field_map,
        current.dimension or None,
        current.metric,
        {**old_read, **new_read},
        {**old_write, **(change.get("write_parameters") or {})},
    )
    if embed is not None and spec.embed is not None and spec.embed.sparse_model != embed.sparse_model:
        raise InvalidArgument(
            f"The sparse_model of index {current.name} changes what is stored of its texts. Run `pinyon reembed "
            f"{current.name} --model {model} --sparse-model {spec.embed.sparse_model or NO_MODEL}`"
        )
    if spec.sparse != current.sparse:
        raise InvalidArgument(f"Model '{model}' has other vectors than this index")
    return spec


def parameters(embed: EmbedSpec, side: str) -> dict[str, Any]:
    """The parameters of an embedding, with the names of the API. side: read or write."""
    values = {
        "input_type": getattr(embed, f"{side}_input_type"),
        "truncate": getattr(embed, f"{side}_truncate"),
        "max_tokens_per_sequence": getattr(embed, f"{side}_max_tokens"),
    }
    own: list[tuple[str, str, str]]
    if side == "read":
        own = [("retrieval", embed.retrieval, "dense")]
        values["mix"] = None if embed.mix is None else msgspec.structs.asdict(embed.mix)
        if embed.calibration:
            values["calibration"] = {name: list(map(list, curve)) for name, curve in embed.calibration.items()}
    else:
        own = [
            ("language", embed.language, AUTO),
            ("diacritics", embed.diacritics, "fold"),
            ("sparse_model", embed.sparse_model, ""),
            ("token_vectors", embed.token_vectors, "none"),
        ]
    values |= {name: value for name, value, default in own if value != default}
    return {key: value for key, value in values.items() if value is not None}


def _metric(value: str) -> Metric:
    metric: Any = value.lower()
    if metric not in get_args(Metric):
        raise InvalidArgument(f"metric must be one of {', '.join(get_args(Metric))}, got '{value[:80]}'")
    return metric  # type: ignore[no-any-return]


def _parameters(model: str, entry: ModelEntry, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check parameters. Returns those that were given, and max_tokens_per_sequence, which is stored in any case."""
    given = given or {}
    values = model_parameters.checked(model, entry, given, required=False)
    return {key: values[key] for key in values if key in given or key == "max_tokens_per_sequence"}


def short_text(value: str | None, what: str, most: int) -> str | None:
    """Check an optional text. what: its name in a request. Raises InvalidArgument."""
    if value is not None and len(value) > most:
        raise InvalidArgument(f"{what} has {len(value)} characters; at most {most} are allowed")
    return value


def details(options: IndexOptions, created_at: str) -> IndexDetails:
    """The details of a new index. created_at: RFC 3339."""
    return IndexDetails(
        created_at=created_at,
        cloud=options.cloud,
        region=options.region,
        deletion_protection=options.deletion_protection,
        tags=tags({}, options.tags),
        schema=metadata_schema(options.schema),
        read_capacity=read_capacity(options.read_capacity),
    )


def merged(table: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A nested table with the values of `change` replaced."""
    result = dict(table)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result
