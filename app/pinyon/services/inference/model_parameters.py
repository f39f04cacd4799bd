"""The parameters that a model takes, derived from its entry in the catalogue.

GET /models lists them, and requests are checked against them.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from pinyon.errors import InvalidArgument, shown
from pinyon.inference.model_files.manifest import ModelEntry

SHOWN = 40


class Parameter(msgspec.Struct, frozen=True):
    """One parameter. allowed: all values that it may have. least, most: the range of a number. Both None: any value."""

    name: str
    value_type: Literal["string", "integer", "boolean"]
    required: bool = False
    allowed: tuple[str, ...] | tuple[int, ...] | None = None
    least: int | None = None
    most: int | None = None
    default: str | int | bool | None = None


def parameters_of(entry: ModelEntry) -> list[Parameter]:
    """All parameters of the model."""
    truncate = Parameter("truncate", "string", allowed=entry.truncations, default=entry.truncate)
    chunks = entry.max_chunks_per_doc
    if entry.kind == "rerank":
        return (
            [Parameter("max_chunks_per_doc", "integer", least=1, most=chunks, default=chunks)] if chunks else [truncate]
        )
    parameters = [Parameter("input_type", "string", required=True, allowed=("query", "passage")), truncate]
    if entry.dimension and entry.dimensions:
        lengths = tuple(sorted((entry.dimension, *entry.dimensions)))
        parameters.append(Parameter("dimension", "integer", allowed=lengths, default=entry.dimension))
    if entry.max_tokens_choices:
        choices = entry.max_tokens_choices
        parameters.append(Parameter("max_tokens_per_sequence", "integer", allowed=choices, default=entry.max_tokens))
    if entry.kind == "sparse":
        parameters.append(Parameter("return_tokens", "boolean", default=False))
    return parameters


def checked(model: str, entry: ModelEntry, given: Mapping[str, Any], required: bool = True) -> dict[str, Any]:
    """Check the parameters of a request. Returns all parameters of the model, with given or default values.

    given: as in the request; null is the same as absent. required: whether required parameters must be given. Raises
    InvalidArgument.
    """
    known = {parameter.name: parameter for parameter in parameters_of(entry)}
    given = {name: whole(value) for name, value in given.items() if value is not None}
    for name in given:
        if name not in known:
            raise InvalidArgument(f"Unknown parameter '{name}' for model '{model}'; allowed: {', '.join(known)}")
    values: dict[str, Any] = {}
    for name, parameter in known.items():
        value = given.get(name)
        if value is None and parameter.required and required:
            raise InvalidArgument(f"Missing required parameter: {name}; model '{model}' takes {_options(parameter)}")
        if value is not None and not _fits(parameter, value):
            raise InvalidArgument(
                f"Invalid value {shown(value, SHOWN)} for parameter '{name}' of model '{model}'; "
                f"it must be {_options(parameter)}"
            )
        values[name] = parameter.default if value is None else value
    return values


def whole(value: Any) -> Any:
    """The value; a float that is a whole number becomes an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fits(parameter: Parameter, value: object) -> bool:
    if type(value) is not {"string": str, "integer": int, "boolean": bool}[parameter.value_type]:
        return False
    if parameter.allowed is not None:
        return value in parameter.allowed
    if parameter.least is not None and parameter.most is not None and isinstance(value, int):
        return parameter.least <= value <= parameter.most
    return True


def _options(parameter: Parameter) -> str:
    if parameter.allowed is not None:
        return "one of " + ", ".join(map(str, parameter.allowed))
    if parameter.least is not None:
        return f"between {parameter.least} and {parameter.most}"
    return "true or false"
