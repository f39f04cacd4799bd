"""Checks ids, namespaces, metadata, vectors and words by Pinecone's rules, before anything is stored.

Every function raises InvalidArgument, which says what was wrong, where, and what is allowed.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon import filters
from pinyon.domain import DEFAULT_NAMESPACE, IndexSpec, Metadata, SparseVector
from pinyon.errors import InvalidArgument, shown
from pinyon.settings import LimitSettings

SHOWN = 15
"""Characters of a wrong metadata value that an error message repeats."""
MOST_WORDS = 100
"""Words that match_terms may have."""
EXACT_INTEGER = 2**53
"""The largest integer up to which float64 holds every integer exactly. Numbers in metadata are float64."""


def record_id(value: object, where: str, limits: LimitSettings, field: str = "id") -> str:
    """Check a record id: 1 to 512 ASCII characters (by default), without NUL. field: its name in the request."""
    most = limits.id_characters
    if value is None:
        raise InvalidArgument(f"{where}: '{field}' is missing; it must be a string of 1 to {most} ASCII characters")
    if not isinstance(value, str):
        raise InvalidArgument(f"{where}: '{field}' must be a string, got {shown(value, SHOWN)}")
    if not value:
        raise InvalidArgument(f"{where}: '{field}' must not be empty; 1 to {most} ASCII characters are allowed")
    if not value.isascii():
        raise InvalidArgument(f"{where}: Vector ID must be ASCII, but got '{value[:80]}'")
    if len(value) > most:
        raise InvalidArgument(f"{where}: '{field}' is {len(value)} characters long; at most {most} are allowed")
    if "\0" in value:
        raise InvalidArgument(f"{where}: Vector ID must not contain null characters")
    return value


def namespace_name(value: str, limits: LimitSettings) -> str:
    """Check the name of a namespace: at most 512 ASCII characters (by default), without NUL.

    Returns the name; for "" the name of the default namespace.
    """
    most = limits.namespace_characters
    if not value.isascii() or "\0" in value:
        raise InvalidArgument(f"Namespace names must be ASCII without null characters, got '{value[:80]}'")
    if len(value) > most:
        raise InvalidArgument(f"The namespace name is {len(value)} characters long; at most {most} are allowed")
    return value or DEFAULT_NAMESPACE


def metadata(raw: dict[str, Any], where: str, max_bytes: int) -> tuple[Metadata, bytes]:
    """The fields of a record as they are stored, and the same fields as compact JSON.

    Null fields are left out, and integers that float64 cannot hold exactly become floats. where: names the record in
    messages.
    """
    fields: Metadata = {}
    for name, value in raw.items():
        if name.startswith("$"):
            raise InvalidArgument(f"{where}: Metadata field '{name}' cannot start with '$'")
        if name == "_score":
            raise InvalidArgument(f"{where}: Metadata field '_score' is reserved")
        if value is not None:
            fields[name] = _metadata_value(name, value, where)
    encoded = msgspec.json.encode(fields)
    if len(encoded) > max_bytes:
        raise InvalidArgument(
            f"{where}: Metadata size is {len(encoded)} bytes, which exceeds the limit of {max_bytes} bytes per vector"
        )
    return fields, encoded


def _metadata_value(name: str, value: Any, where: str) -> Any:
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if abs(value) <= EXACT_INTEGER:
            return value
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgument(f"{where}: the number in metadata field '{name}' is out of range")
        return value
    if isinstance(value, list) and all(isinstance(element, str) for element in value):
        return value
    raise InvalidArgument(
        f"{where}: Metadata value must be a string, number, boolean or list of strings, "
        f"got '{shown(value, SHOWN)}' for field '{name}'"
    )


def sparse_vector(indices: list[int], values: list[float], spec: IndexSpec, most: int) -> SparseVector:
    """Check a sparse vector: distinct uint32 indices with finite float32 values other than 0. most: the longest one."""
    if not spec.takes_sparse:
        raise InvalidArgument(
            "Index configuration does not support sparse values - only indexes that are sparse or using dotproduct "
            "are supported"
        )
    sparse = _terms(indices, values, most)
    if not sparse.values.all():
        raise InvalidArgument("Sparse values must not be zero; leave those terms out")
    return sparse


def stored_sparse(indices: list[int], values: list[float], spec: IndexSpec, most: int) -> SparseVector:
    """Check a sparse vector of an update, as sparse_vector() does.

    A dense index with another metric than dotproduct stores sparse values too, zeros included, as the hosted service
    does. Searches ignore them.
    """
    return sparse_vector(indices, values, spec, most) if spec.takes_sparse else _terms(indices, values, most)


def _terms(indices: list[int], values: list[float], most: int) -> SparseVector:
    if len(indices) != len(values):
        raise InvalidArgument(
            f"Sparse vectors need as many indices as values, got {len(indices)} indices and {len(values)} values"
        )
    if not indices:
        raise InvalidArgument("Sparse vectors must contain at least one value")
    if len(indices) > most:
        raise InvalidArgument(f"Sparse vector has {len(indices)} values; at most {most} are allowed")
    if min(indices) < 0 or max(indices) > 2**32 - 1:
        raise InvalidArgument("Sparse indices must be between 0 and 4294967295")
    if len(set(indices)) != len(indices):
        raise InvalidArgument("Sparse indices must be unique")
    with np.errstate(over="ignore"):
        weights = np.asarray(values, dtype=np.float64).astype(np.float32)
    if not np.isfinite(weights).all():
        raise InvalidArgument("Sparse values must be finite and within the range of a 32-bit float")
    return SparseVector(np.asarray(indices, dtype=np.uint32), weights)


def query_input(spec: IndexSpec, dense: bool, sparse: bool, by_id: bool) -> None:
    """Check that a query has either an id or values that fit the index. The messages are Pinecone's.

    dense, sparse, by_id: whether the query has dense values, sparse values, an id.
    """
    if by_id:
        if sparse:
            raise InvalidArgument("Cannot provide both 'ID' and 'sparse_vector' at the same time")
        if dense:
            raise InvalidArgument("Cannot provide both 'ID' and 'vector' at the same time")
    elif spec.sparse:
        if not sparse:
            raise InvalidArgument("Either 'sparse_vector' or 'ID' must be provided")
        if dense:
            raise InvalidArgument("Index configuration does not support dense values: it is a sparse index")
    elif not dense and not sparse:
        raise InvalidArgument("The query needs one of 'vector', 'sparse_vector' and 'id'")
    elif not dense:
        needs_dense(spec)


def needs_dense(spec: IndexSpec) -> None:
    """Raises InvalidArgument if the index is dense, where sparse values alone are no query."""
    if not spec.sparse:
        raise InvalidArgument(
            "Cannot query index with dense 'vector_type' with only sparse vector; send dense values, which sparse ones "
            "can be added to"
        )


def dense_vector(
    values: list[float] | NDArray[np.float32], spec: IndexSpec, stored: bool = True
) -> NDArray[np.float32]:
    """Check a dense vector. Returns it as float32 [dimension].

    stored: whether it belongs to a record, which must not be all zero in a cosine index. A query may be all zero: every
    record then has the score 0, which programs use to list the records that match a filter.
    """
    if spec.sparse:
        raise InvalidArgument("This is a sparse index; it takes sparse values only")
    if len(values) != spec.dimension:
        raise InvalidArgument(
            f"Vector dimension {len(values)} does not match the dimension of the index {spec.dimension}"
        )
    if isinstance(values, np.ndarray) and values.dtype == np.float32:
        vector = values
    else:
        with np.errstate(over="ignore"):
            vector = np.asarray(values, dtype=np.float64).astype(np.float32)
    if not np.isfinite(vector).all():
        raise InvalidArgument("Vector values must be finite and within the range of a 32-bit float")
    if stored and spec.metric == "cosine" and not vector.any():
        raise InvalidArgument("Dense vectors must contain at least one non-zero value")
    return vector


def match_terms(spec: IndexSpec, terms: Sequence[str]) -> filters.HasWords:
    """The words of match_terms, each once."""
    if spec.embed is None or not spec.sparse:
        raise InvalidArgument(
            "match_terms is only supported for sparse indexes with integrated embedding (pinecone-sparse-english-v0)"
        )
    distinct = tuple(dict.fromkeys(word for term in terms for word in filters.words(term)))
    if not distinct:
        raise InvalidArgument("match_terms.terms must name at least one word")
    if len(distinct) > MOST_WORDS:
        raise InvalidArgument(f"match_terms.terms has {len(distinct)} words; at most {MOST_WORDS} are allowed")
    return filters.HasWords(spec.embed.text_field, distinct)
