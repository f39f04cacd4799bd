"""Finds the best records of which only so many may have the same value of a field."""

import msgspec
import numpy as np

from pinyon.domain import Grouping, ScoreParts
from pinyon.filters import And, Condition, In, Not
from pinyon.search.grouping import Groups
from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.records.scoring import Scorer
from pinyon.storage.postgres.schema.buckets import Namespace
from pinyon.storage.shared.ranking import Ranking
from pinyon.storage.shared.row_sets import Records

FIRST, FIRST_HYBRID, GROWTH = 256, 10_000, 4
"""Records of the first round, at least; and how many times as many each further round has.

A hybrid search compares only its candidates. With so many, it shows the same hits as if a caller grouped the largest
answer that there is."""
READ_ROWS = 256
"""Records whose fields are read at a time."""

decode = msgspec.json.Decoder(dict).decode


async def best(
    scorer: Scorer, top_k: int, grouping: Grouping, condition: Condition | None
) -> tuple[Ranking, dict[int, ScoreParts] | None]:
    """The first top_k records that the groups admit, best first; and the parts of hybrid scores by row number.

    condition: the plan's filter. Each round asks for more records than the one before, without the values that are
    full. A round chooses at least one record that is new, or is the last.
    """
    groups = Groups(grouping)
    wanted = FIRST_HYBRID if scorer.kind == "hybrid" else max(FIRST, GROWTH * top_k)
    chosen, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    parts: dict[int, ScoreParts] = {}
    while True:
        asked = wanted + len(chosen)  # the chosen ones may be among the best again
        ranking = await scorer.best(asked, condition)
        is_new = ~np.isin(ranking.rows, chosen)
        rows, row_scores = ranking.rows[is_new], ranking.scores[is_new]
        places = await _admitted(scorer.source.connection, scorer.source.ns, rows, groups, top_k - len(chosen))
        chosen = np.concatenate([chosen, rows[places]])
        scores = np.concatenate([scores, row_scores[places]])
        if ranking.parts is not None:
            parts |= ranking.parts.of(rows[places])
        if len(chosen) == top_k or len(ranking.rows) < asked:
            break
        full = Not(In(grouping.field, groups.full))
        condition = full if condition is None else And((condition, full))
        wanted *= GROWTH
    return Ranking(*await scorer.in_order(chosen, scores)), parts if scorer.kind == "hybrid" else None


async def _admitted(connection: Connection, ns: Namespace, rows: Records, groups: Groups, most: int) -> list[int]:
    """The places of the first rows that the groups admit, at most `most`."""
    places: list[int] = []
    for start in range(0, len(rows), READ_ROWS):
        some = rows[start : start + READ_ROWS].tolist()
        cursor = await connection.execute(
            f"SELECT record, metadata FROM records WHERE {ns.rows} AND record = ANY(%s)", (some,)
        )
        metadata: dict[int, str] = dict(await cursor.fetchall())
        for place, row in enumerate(some, start):
            if groups.admits(decode(metadata[row])):
                places.append(place)
                if len(places) == most:
                    return places
    return places
