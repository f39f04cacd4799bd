"""Says which rows an upsert would refuse, and stores nothing."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from pinyon.auth import permissions
from pinyon.domain import Index
from pinyon.errors import InvalidArgument
from pinyon.services.data_plane.records.text_upserts import TextUpserts
from pinyon.services.data_plane.vectors import RawVector, Vectors
from pinyon.settings import LimitSettings

T = TypeVar("T")


class Refused(msgspec.Struct, frozen=True):
    """A row that would be refused. position: its place in the request, from 0."""

    position: int
    message: str


class UpsertChecks:
    """Checks rows by the rules of upserts. Methods raise InvalidArgument if there are too many rows.

    Texts are not embedded, so those that are too long for a model with `truncate` NONE are not found.
    """

    def __init__(self, vectors: Vectors, upserts: TextUpserts, limits: LimitSettings) -> None:
        self._vectors, self._upserts, self._limits = vectors, upserts, limits

    def vectors(self, index: Index, rows: Sequence[RawVector]) -> list[Refused]:
        """The vectors that this index would refuse."""
        return self._refused(index, rows, lambda row: self._vectors.checked(index.spec, "The vector", row))

    def texts(self, index: Index, rows: Sequence[Any]) -> list[Refused]:
        """The records with text (decoded JSON) that this index would refuse."""
        embed = index.spec.embed
        if embed is None:
            raise InvalidArgument(f"Index {index.name} embeds no text; send vectors to /vectors/check")

        def check(row: Any) -> object:
            if not isinstance(row, dict):
                raise InvalidArgument(f"The record must be a JSON object, got {type(row).__name__}")
            return self._upserts.check(row, "The record", embed.text_field)

        return self._refused(index, rows, check)

    def _refused(self, index: Index, rows: Sequence[T], check: Callable[[T], object]) -> list[Refused]:
        permissions.check("write", index.handle)
        most = max(self._limits.vectors_per_upsert, self._limits.records_per_upsert)
        if len(rows) > most:
            raise InvalidArgument(f"The request holds {len(rows)} rows; at most {most} are checked together")
        refused = []
        for position, row in enumerate(rows):
            try:
                check(row)
            except InvalidArgument as error:
                refused.append(Refused(position, error.message))
        return refused
