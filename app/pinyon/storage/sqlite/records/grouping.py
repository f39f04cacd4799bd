"""Finds the best records of which only so many may have the same value of a field."""

from collections.abc import Callable
from typing import Any

import apsw
import msgspec
import numpy as np

from pinyon.domain import Grouping, ScoreParts
from pinyon.filters import Condition, In, Not
from pinyon.search.grouping import Groups
from pinyon.storage.shared.ranking import Ranking
from pinyon.storage.shared.row_sets import Records, RowSet
from pinyon.storage.sqlite.records.scoring import Scorer

FIRST, FIRST_HYBRID, GROWTH = 256, 10_000, 4
"""Records of the first round, at least; and how many times as many each further round has.

A hybrid search compares only its candidates. With so many, it shows the same hits as if a caller grouped the largest
answer that there is."""
READ_ROWS = 256
"""Records whose fields are read at a time."""

decode = msgspec.json.Decoder(dict).decode


def best(
    scorer: Scorer,
    top_k: int,
    grouping: Grouping,
    matching: RowSet | None,
    rows_that_match: Callable[[Condition], RowSet],
) -> tuple[Ranking, dict[int, ScoreParts] | None]:
    """The first top_k records that the groups admit, best first; and the parts of hybrid scores by row number.

    matching: as Scorer.best() takes it. rows_that_match: the rows that match a condition and the plan's filter.

    Each round asks for more records than the one before, without those that were chosen and those whose value is full.
    A round chooses at least one record, because its first one is of a group with room. So a value that thousands of
    records have costs one round, and the rounds end when the hits are complete or no record is left.
    """
    groups, rows = Groups(grouping), matching
    wanted = FIRST_HYBRID if scorer.kind == "hybrid" else max(FIRST, GROWTH * top_k)
    chosen, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    parts: dict[int, ScoreParts] = {}
    while True:
        ranking = scorer.best(wanted, rows)
        places = _admitted(scorer.source.connection, ranking.rows, groups, top_k - len(chosen))
        chosen = np.concatenate([chosen, ranking.rows[places]])
        scores = np.concatenate([scores, ranking.scores[places]])
        if ranking.parts is not None:
            parts |= ranking.parts.of(ranking.rows[places])
        if len(chosen) == top_k or len(ranking.rows) < wanted:
            break
        full = groups.full
        rows = rows_that_match(Not(In(grouping.field, full))).replaced(np.sort(chosen), np.empty(0, np.int64))
        wanted *= GROWTH
    return Ranking(*scorer.in_order(chosen, scores)), parts if scorer.kind == "hybrid" else None


def _admitted(connection: apsw.Connection, rows: Records, groups: Groups, most: int) -> list[int]:
    """The places of the first rows that the groups admit, at most `most`."""
    places: list[int] = []
    for start in range(0, len(rows), READ_ROWS):
        some = rows[start : start + READ_ROWS]
        read: Any = connection.execute(
            "SELECT record, metadata FROM carray(?) CROSS JOIN records ON record = value", (apsw.carray(np.sort(some)),)
        )
        metadata: dict[int, str] = dict(read)
        for place, row in enumerate(some.tolist(), start):
            if groups.admits(decode(metadata[row])):
                places.append(place)
                if len(places) == most:
                    return places
    return places
