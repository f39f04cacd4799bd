"""What a search of records can ask."""

from typing import Any

import msgspec

from pinyon.domain import EVEN, Grouping, IndexSpec, Mix, Retrieval
from pinyon.errors import InvalidArgument
from pinyon.services.data_plane.records.reranking import Rerank


class Search(msgspec.Struct, frozen=True):
    """A search by text, by vector or by the id of a record.

    sparse: indices and values. match_terms: words that the text of a hit must have, all of them; only for sparse
    indexes that embed text. retrieval: how a text is searched; mix: of a hybrid or reranked score; None for the
    index's own choice. min_score: leave out hits whose calibrated score, the chance that they are relevant, is lower.
    group_by: show at most group_size hits with the same value of this field; group_size: None for 1.
    explain: add to each hit the parts of its score, in the field `_explain`. fields: the fields that hits show; None
    for all of them.
    """

    top_k: int
    text: str | None = None
    vector: list[float] | None = None
    sparse: tuple[list[int], list[float]] | None = None
    id: str | None = None
    filter: dict[str, Any] | None = None
    match_terms: list[str] | None = None
    retrieval: Retrieval | None = None
    mix: Mix | None = None
    min_score: float | None = None
    group_by: str | None = None
    group_size: int | None = None
    explain: bool = False
    fields: list[str] | None = None
    rerank: Rerank | None = None


def retrieval_of(spec: IndexSpec, search: Search) -> Retrieval:
    """How a text is searched. Raises InvalidArgument where the index has no choice."""
    if spec.embed is None:
        raise InvalidArgument("Integrated inference is not configured for this index")
    if spec.sparse and search.retrieval not in (None, "dense"):
        raise _sparse("retrieval")
    return search.retrieval or spec.embed.retrieval


def mix_of(spec: IndexSpec, search: Search) -> Mix:
    """How much the sides of a hybrid or reranked score count. Raises InvalidArgument where there is one side."""
    if spec.sparse and search.mix is not None:
        raise _sparse("mix")
    return search.mix or (spec.embed and spec.embed.mix) or EVEN


def check_min_score(spec: IndexSpec, search: Search) -> None:
    """Raises InvalidArgument if the search has a min_score that is wrong, or that the index does not have."""
    if search.min_score is None:
        return
    if not 0 <= search.min_score <= 1:
        raise InvalidArgument(
            f"min_score must be from 0 to 1, got {search.min_score:g}: it is the least chance that a hit fits"
        )
    if spec.sparse:
        raise _sparse("min_score")


def grouping_of(search: Search, most: int) -> Grouping | None:
    """How hits are grouped. most: the largest group_size. Raises InvalidArgument if that is wrong."""
    if search.group_by is None:
        if search.group_size is not None:
            raise InvalidArgument("'group_size' needs 'group_by', the name of the field whose values are the groups")
        return None
    if not search.group_by:
        raise InvalidArgument("'group_by' must be the name of a field, got an empty string")
    size = 1 if search.group_size is None else search.group_size
    if not 1 <= size <= most:
        raise InvalidArgument(f"group_size must be from 1 to {most}, got {size}: it is the most hits of a group")
    return Grouping(search.group_by, size)


def _sparse(name: str) -> InvalidArgument:
    return InvalidArgument(f"'{name}' is for dense indexes; this one is searched by the terms of its model")
