"""Sets of rows: the same rows in every form, whatever form they were made of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.storage.shared.row_sets import Mask, Records, RowSet, mask_of

ROWS = st.sets(st.integers(0, 300) | st.integers(0, 3_000), max_size=80)


def sorted_rows(rows: set[int]) -> Records:
    return np.array(sorted(rows), np.int64)


def every_form(rows: set[int]) -> list[RowSet]:
    """The same set made of row numbers, of masks of two lengths, and in the smallest form."""
    ordered = sorted_rows(rows)
    longer: Mask = np.pad(mask_of(ordered), (0, 9))
    made = [RowSet.of_rows(ordered), RowSet.of_mask(mask_of(ordered)), RowSet.of_mask(longer)]
    return [*made, *(each.compacted() for each in made)]


@given(rows=ROWS, asked=ROWS)
def test_every_form_has_the_same_rows(rows: set[int], asked: set[int]) -> None:
    for row_set in every_form(rows):
        assert row_set.count == len(rows)
        assert row_set.rows.tolist() == sorted(rows)
        assert np.flatnonzero(row_set.mask).tolist() == sorted(rows)
        assert np.flatnonzero(np.unpackbits(row_set.bits, bitorder="little")).tolist() == sorted(rows)
        assert row_set.contains(sorted_rows(asked)).tolist() == [row in rows for row in sorted(asked)]


@given(rows=ROWS, changed=ROWS, now_in=ROWS)
def test_of_changed_rows_only_those_that_match_now_are_in_the_set(
    rows: set[int], changed: set[int], now_in: set[int]
) -> None:
    now_in &= changed
    for row_set in every_form(rows):
        assert row_set.replaced(sorted_rows(changed), sorted_rows(now_in)).rows.tolist() == sorted(
            rows - changed | now_in
        )
        assert row_set.rows.tolist() == sorted(rows)


@pytest.mark.parametrize(("step", "most_bytes"), [(1, 10_000 // 8), (10, 10_000 // 8), (100, 100 * 8)])
def test_the_smallest_form_takes_little_memory(step: int, most_bytes: int) -> None:
    rows = np.arange(0, 10_000, step, dtype=np.int64)
    assert RowSet.of_rows(rows).compacted().nbytes <= most_bytes
    assert RowSet.of_mask(mask_of(rows)).compacted().nbytes <= most_bytes
