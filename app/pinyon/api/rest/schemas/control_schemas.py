"""Requests and responses of the index routes: up to version 2026-04, and from version 2026-07 on (marked so)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pinyon import decoding
from pinyon.domain import Index
from pinyon.errors import InvalidArgument, Unprocessable
from pinyon.services.control_plane import index_rules
from pinyon.services.control_plane.index_rules import IndexOptions
from pinyon.services.control_plane.indexes import IndexChange, State
from pinyon.services.inference.model_parameters import whole

FIRST_WITH_SCHEMAS = "2026-07"
"""From this API version on, an index is described by a schema and a deployment."""

OnOff = str
"""Either enabled or disabled. check_protection() refuses other words, with an error that depends on the version."""


def check_protection(value: OnOff | None, version: str) -> None:
    """Raises InvalidArgument for another word; from version 2026-07 on, Unprocessable."""
    if value not in (None, "enabled", "disabled"):
        problem = "Invalid deletion_protection, value should be either enabled or disabled"
        raise (Unprocessable if version >= FIRST_WITH_SCHEMAS else InvalidArgument)(problem)


class ServerlessSpec(msgspec.Struct):
    """The cloud and region of a serverless index."""

    cloud: str
    region: str
    read_capacity: dict[str, Any] | None = None
    schema: "MetadataSchema | None" = None
    source_collection: str | None = None


class MetadataSchema(msgspec.Struct):
    """The declared metadata fields."""

    fields: dict[str, dict[str, bool]]


class IndexSpec(msgspec.Struct):
    """Where and how an index runs."""

    serverless: ServerlessSpec | None = None
    pod: dict[str, Any] | None = None
    byoc: dict[str, Any] | None = None


class CreateIndexRequest(msgspec.Struct):
    """POST /indexes."""

    name: str
    spec: IndexSpec
    dimension: int | None = None
    metric: str | None = None
    vector_type: str | None = None
    deletion_protection: OnOff | None = None
    tags: dict[str, str] | None = None

    def options(self) -> IndexOptions:
        """The properties that are not in the spec of the index."""
        serverless = self.spec.serverless
        if serverless is None:
            raise InvalidArgument("Only serverless indexes are supported: give spec.serverless with cloud and region")
        if serverless.source_collection is not None:
            raise InvalidArgument(f"Resource {serverless.source_collection} not found")
        return _options(self, serverless.cloud, serverless.region, serverless.read_capacity, serverless.schema)


class Embed(msgspec.Struct):
    """How an index embeds text."""

    model: str
    field_map: dict[str, str]
    metric: str | None = None
    dimension: int | None = None
    read_parameters: dict[str, Any] | None = None
    write_parameters: dict[str, Any] | None = None


class CreateIndexForModelRequest(msgspec.Struct):
    """POST /indexes/create-for-model. It is the same in every version."""

    name: str
    cloud: str
    region: str
    embed: Embed
    deletion_protection: OnOff | None = None
    tags: dict[str, str] | None = None
    schema: MetadataSchema | None = None
    read_capacity: dict[str, Any] | None = None

    def options(self) -> IndexOptions:
        """The properties that are not in the spec of the index."""
        return _options(self, self.cloud, self.region, self.read_capacity, self.schema)


def _options(
    request: Any, cloud: str, region: str, capacity: Mapping[str, Any] | None, schema: MetadataSchema | None = None
) -> IndexOptions:
    return IndexOptions(
        cloud=cloud,
        region=region,
        deletion_protection=request.deletion_protection == "enabled",
        tags=request.tags or {},
        schema=None if schema is None else msgspec.to_builtins(schema),
        read_capacity=capacity,
    )


class Deployment(msgspec.Struct):
    """2026-07: where an index runs."""

    deployment_type: str = "managed"
    cloud: str = "aws"
    region: str = "us-east-1"


class FieldsSchema(msgspec.Struct):
    """2026-07: the fields of an index."""

    fields: dict[str, dict[str, Any]]


class CreateIndexWithSchema(msgspec.Struct):
    """2026-07: POST /indexes."""

    schema: FieldsSchema
    name: str | None = None
    deployment: Deployment | None = None
    read_capacity: dict[str, Any] | None = None
    deletion_protection: OnOff | None = None
    tags: dict[str, str] | None = None
    cmek_id: str | None = None

    def options(self) -> IndexOptions:
        """The properties that are not in the spec of the index."""
        deployment = self.deployment or Deployment()
        if deployment.deployment_type != "managed":
            raise InvalidArgument(f"deployment_type must be managed, got '{deployment.deployment_type}'")
        if self.cmek_id is not None:
            raise InvalidArgument("cmek_id is not supported: encrypt the disk of the data folder instead")
        return _options(self, deployment.cloud, deployment.region, self.read_capacity)

    def vectors(self) -> tuple[str, int | None, str | None]:
        """Vector type, dimension and metric. Raises InvalidArgument if the index is not one of vectors."""
        fields = self.schema.fields
        other = [name for name in fields if name not in ("_values", "_sparse_values")]
        if other or not fields:
            raise InvalidArgument(
                "Indexes with fields of their own, for the Documents API, are not supported; a schema may have _values "
                f"(dense_vector) and _sparse_values (sparse_vector), got {', '.join(other) or 'no field'}"
            )
        for name, kind in (("_values", "dense_vector"), ("_sparse_values", "sparse_vector")):
            if name in fields and fields[name].get("type") != kind:
                raise InvalidArgument(f"The field {name} must have the type {kind}")
        dense = fields.get("_values")
        if dense is None:
            return "sparse", None, None
        dimension, metric = whole(dense.get("dimension")), dense.get("metric")
        if type(dimension) is not int or not isinstance(metric, str):
            raise InvalidArgument("The field _values needs a dimension and a metric")
        return "dense", dimension, metric


class ConfigureEmbed(msgspec.Struct, forbid_unknown_fields=True):
    """Changes of how an index embeds text."""

    model: str | None = None
    field_map: dict[str, str] | None = None
    read_parameters: dict[str, Any] | None = None
    write_parameters: dict[str, Any] | None = None


class ConfigureSpec(msgspec.Struct, forbid_unknown_fields=True):
    """Changes of how an index runs."""

    serverless: "ConfigureServerless | None" = None
    pod: dict[str, Any] | None = None


class ConfigureServerless(msgspec.Struct, forbid_unknown_fields=True):
    """Changes of the read capacity, which has no effect here."""

    read_capacity: dict[str, Any] | None = None


class ConfigureIndexRequest(msgspec.Struct, forbid_unknown_fields=True):
    """PATCH /indexes/{name}, with the fields of all versions."""

    deletion_protection: OnOff | None = None
    tags: dict[str, str] | None = None
    embed: ConfigureEmbed | None = None
    spec: ConfigureSpec | None = None
    read_capacity: dict[str, Any] | None = None
    deployment: dict[str, Any] | None = None
    schema: FieldsSchema | None = None

    def change(self) -> IndexChange:
        """The requested changes. Raises InvalidArgument for what indexes do not have here."""
        capacity = self.read_capacity
        if self.spec is not None:
            if self.spec.pod is not None:
                raise InvalidArgument("This is no pod index; it has no pods to configure")
            if self.spec.serverless is not None:
                capacity = self.spec.serverless.read_capacity
        if self.deployment:
            raise InvalidArgument("The deployment of an index cannot be changed")
        embed = self.embed
        if self.schema is not None:
            embed = _embed_of(self.schema.fields)
        protection = None if self.deletion_protection is None else self.deletion_protection == "enabled"
        named = None if embed is None else {k: v for k, v in msgspec.structs.asdict(embed).items() if v is not None}
        return IndexChange(protection, self.tags, capacity, named)


def _embed_of(fields: Mapping[str, Mapping[str, Any]]) -> ConfigureEmbed:
    if len(fields) != 1 or next(iter(fields.values())).get("type") != "semantic_text":
        raise InvalidArgument("A schema can only be changed in one field of the type semantic_text")
    name, field = next(iter(fields.items()))
    embed = {**{key: value for key, value in field.items() if key != "type"}, "field_map": {"text": name}}
    try:
        return decoding.convert(embed, ConfigureEmbed)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"The field '{name}' is wrong: {error}") from None


def described(index: Index, host: str, state: State, version: str) -> dict[str, Any]:
    """The description of an index in this API version."""
    details = index.details
    common: dict[str, Any] = {
        "name": index.name,
        "host": host,
        "status": {"ready": state == "Ready", "state": state},
        "deletion_protection": "enabled" if details.deletion_protection else "disabled",
        "tags": details.tags or None,
    }
    return {**common, **(_from_2026_07(index) if version >= FIRST_WITH_SCHEMAS else _before(index))}


def _read_capacity(index: Index) -> dict[str, Any]:
    capacity = index.details.read_capacity
    if capacity is None:
        return {"mode": "OnDemand", "status": {"state": "Ready"}}
    manual = capacity["dedicated"]["manual"]
    status = {"state": "Ready", "current_shards": manual["shards"], "current_replicas": manual["replicas"]}
    return {**capacity, "status": status}


def _before(index: Index) -> dict[str, Any]:
    spec, details = index.spec, index.details
    serverless: dict[str, Any] = {
        "cloud": details.cloud,
        "region": details.region,
        "read_capacity": _read_capacity(index),
    }
    if details.schema is not None:
        serverless["schema"] = details.schema
    vector_type = "sparse" if spec.sparse else "dense"
    described: dict[str, Any] = {"metric": spec.metric, "vector_type": vector_type, "spec": {"serverless": serverless}}
    if details.created_at:
        described["created_at"] = details.created_at
    if not spec.sparse:
        described["dimension"] = spec.dimension
    if spec.embed is not None:
        described["embed"] = {
            "model": spec.embed.model,
            "field_map": {"text": spec.embed.text_field},
            "metric": spec.metric,
            "vector_type": vector_type,
            "read_parameters": index_rules.parameters(spec.embed, "read"),
            "write_parameters": index_rules.parameters(spec.embed, "write"),
        }
        if not spec.sparse:
            described["embed"]["dimension"] = spec.dimension
    return described


def schema(index: Index) -> dict[str, Any]:
    """The schema of an index, from version 2026-07 on."""
    spec, details = index.spec, index.details
    fields: dict[str, Any] = {}
    if spec.embed is not None:
        fields[spec.embed.text_field] = {
            "type": "semantic_text",
            "model": spec.embed.model,
            "dimension": None if spec.sparse else spec.dimension,
            "metric": spec.metric,
            "read_parameters": index_rules.parameters(spec.embed, "read"),
            "write_parameters": index_rules.parameters(spec.embed, "write"),
            "description": None,
        }
    else:
        if not spec.sparse:
            fields["_values"] = {"type": "dense_vector", "dimension": spec.dimension, "metric": spec.metric}
        fields["_sparse_values"] = {"type": "sparse_vector"}
    for name in (details.schema or {"fields": {}})["fields"]:
        fields.setdefault(name, {"filterable": True})
    return {"fields": fields}


def _from_2026_07(index: Index) -> dict[str, Any]:
    details = index.details
    return {
        "deployment": {"deployment_type": "managed", "cloud": details.cloud, "region": details.region},
        "read_capacity": _read_capacity(index),
        "schema": schema(index),
    }
