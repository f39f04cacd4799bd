"""Answers filters from the values of each field in memory, without reading postings one by one.

Columns are of one version of a namespace. Rows that have changed since are judged by their metadata. Pure.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metadata
from pinyon.filters import And, Compare, Condition, Exists, In, Not, Or
from pinyon.storage.shared.postings import Kind, Posted, posted, postings
from pinyon.storage.shared.row_sets import Mask, Records, RowSet, distinct

Rows = NDArray[np.int32]
"""Row numbers, which are below 2^31."""
Posting = tuple[int, Posted, int]
"""Kind, value, row number."""

FEW = 16
"""When fewer than one row in FEW matches, sort the row numbers instead of building a mask."""
NAME_BYTES = 250
"""Memory of a distinct value that is not a number, about."""


class Column(msgspec.Struct, frozen=True):
    """Every posting of one field.

    numbers: float64 [n], ascending; number_rows: the row of each. All other values have codes: int32 [m], ascending;
    code_rows: the row of each; code_of: the code of a kind and a value.
    """

    numbers: NDArray[np.float64]
    number_rows: Rows
    codes: NDArray[np.int32]
    code_rows: Rows
    code_of: dict[tuple[int, Posted], int]

    @property
    def nbytes(self) -> int:
        """Memory it takes, about."""
        rows = self.number_rows.nbytes + self.code_rows.nbytes
        return self.numbers.nbytes + self.codes.nbytes + rows + NAME_BYTES * len(self.code_of)

    def rows(self, condition: In | Compare | Exists) -> Rows:
        """Rows that match the condition, in any order. Some may come twice."""
        match condition:
            case In(_, values):
                wanted = list(map(posted, values))
                numbers = np.array([value for kind, value in wanted if kind is Kind.NUMBER], np.float64)
                codes = [self.code_of.get((int(kind), value)) for kind, value in wanted if kind is not Kind.NUMBER]
                known = np.array([code for code in codes if code is not None], np.int32)
                return np.concatenate(
                    [
                        *_equal(self.numbers, self.number_rows, numbers),
                        *_equal(self.codes, self.code_rows, known),
                        np.empty(0, np.int32),
                    ]
                )
            case Compare():
                return self.between([condition])
            case Exists():
                return np.concatenate([self.number_rows, self.code_rows])

    def between(self, conditions: Iterable[Compare]) -> Rows:
        """Rows whose number is within every bound, in any order."""
        first, end = 0, len(self.numbers)
        for condition in conditions:
            operator = condition.operator
            side = "right" if operator in ("$gt", "$lte") else "left"
            place = int(np.searchsorted(self.numbers, condition.bound, side))  # type: ignore[call-overload]
            if operator in ("$gt", "$gte"):
                first = max(first, place)
            else:
                end = min(end, place)
        return self.number_rows[first:end]

    def replaced(self, gone: Records, new: Iterable[Posting]) -> "Column":
        """A column without the postings of some rows (sorted), and with new ones."""
        more = column(sorted(new), dict(self.code_of))
        keep = ~np.isin(self.number_rows, gone), ~np.isin(self.code_rows, gone)
        numbers, codes = self.numbers[keep[0]], self.codes[keep[1]]
        among = np.searchsorted(numbers, more.numbers), np.searchsorted(codes, more.codes)
        return Column(
            np.insert(numbers, among[0], more.numbers),
            np.insert(self.number_rows[keep[0]], among[0], more.number_rows),
            np.insert(codes, among[1], more.codes),
            np.insert(self.code_rows[keep[1]], among[1], more.code_rows),
            more.code_of,
        )


def _equal(values: NDArray[Any], rows: Rows, wanted: NDArray[Any]) -> list[Rows]:
    """The rows of the ascending values that equal a wanted one, in parts."""
    first, end = np.searchsorted(values, wanted, "left"), np.searchsorted(values, wanted, "right")
    return [rows[first[place] : end[place]] for place in np.flatnonzero(first < end)]


def column(ordered: Sequence[Posting], code_of: dict[tuple[int, Posted], int]) -> Column:
    """A column of ordered postings. code_of: the codes so far. New values get the next codes, and are added to it."""
    numbers = [(value, row) for kind, value, row in ordered if kind == Kind.NUMBER]
    others = [
        (code_of.setdefault((kind, value), len(code_of)), row) for kind, value, row in ordered if kind != Kind.NUMBER
    ]
    others.sort()
    return Column(
        np.array([value for value, _ in numbers], np.float64),
        np.array([row for _, row in numbers], np.int32),
        np.array([code for code, _ in others], np.int32),
        np.array([row for _, row in others], np.int32),
        code_of,
    )


def joined(parts: Sequence[Column]) -> Column:
    """One column of several parts, which were made in order and with the same codes."""
    return Column(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.number_rows for part in parts]),
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.code_rows for part in parts]),
        parts[-1].code_of,
    )


class Columns(msgspec.Struct, frozen=True):
    """Some fields of a namespace at one version. alive: whether a row exists, by row number."""

    version: int
    alive: Mask
    by_field: dict[str, Column]

    def matching_rows(self, condition: Condition) -> RowSet:
        """The rows that match a condition on these fields."""
        rows = self._rows(condition)
        if rows is not None and FEW * len(rows) < len(self.alive):
            return RowSet.of_rows(distinct(rows.astype(np.int64)))
        return RowSet.of_mask(self._mask(condition, rows))

    def _rows(self, condition: Condition) -> Rows | None:
        """Rows that match a condition on one value, in any order, perhaps twice; None for other conditions."""
        match condition:
            case In() | Compare() | Exists():
                return self.by_field[condition.field].rows(condition)
            case And((Compare(field), *_) as conditions):
                bounds = [each for each in conditions if isinstance(each, Compare) and each.field == field]
                if len(bounds) == len(conditions):
                    return self.by_field[field].between(bounds)
        return None

    def _mask(self, condition: Condition, rows: Rows | None = None) -> Mask:
        """A mask of the matching rows. rows: what _rows() returned, if it was asked."""
        rows = self._rows(condition) if rows is None else rows
        if rows is not None:
            mask = np.zeros(len(self.alive), dtype=bool)
            mask[rows.astype(np.intp)] = True  # indexing by int32 takes numpy three times as long
            return mask
        if isinstance(condition, Not):
            return self.alive & ~self._mask(condition.condition)
        assert isinstance(condition, And | Or)
        whole = self._mask(condition.conditions[0])
        for each in condition.conditions[1:]:  # one after another, because a mask has a byte for every row
            if isinstance(condition, And):
                whole &= self._mask(each)
            else:
                whole |= self._mask(each)
        return whole

    def with_column(self, field: str, new: Column) -> "Columns":
        """With the column of one more field, which may have rows that are newer than this version."""
        rows = max(int(some.max(initial=-1)) + 1 for some in (new.number_rows, new.code_rows))
        alive = np.pad(self.alive, (0, max(0, rows - len(self.alive))))
        return Columns(self.version, alive, {**self.by_field, field: new})

    def without_column(self, field: str) -> "Columns | None":
        """Without the column of a field; None if it was the last one."""
        others = {name: column for name, column in self.by_field.items() if name != field}
        return Columns(self.version, self.alive, others) if others else None

    def replaced(self, gone: Records, current: Sequence[tuple[int, Metadata]], version: int) -> "Columns":
        """With changed rows (sorted) as they are now. Those that are not in `current` are deleted."""
        new: dict[str, list[Posting]] = {field: [] for field in self.by_field}
        for row, metadata in current:
            for field, kind, value in postings(metadata):
                if field in new:
                    new[field].append((int(kind), value, row))
        alive = np.zeros(max(len(self.alive), int(gone.max(initial=-1)) + 1), dtype=bool)
        alive[: len(self.alive)] = self.alive
        alive[gone] = False
        alive[[row for row, _ in current]] = True
        by_field = {field: column.replaced(gone, new[field]) for field, column in self.by_field.items()}
        return Columns(version, alive, by_field)
