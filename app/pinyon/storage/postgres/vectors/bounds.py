"""Bounds on what PostgreSQL computes of a score: as SQL, and as numbers. Pure.

pgvector computes in float32. A score that callers see is computed by ranking.exact_scores() in float64, for the rows
that may be among the best. Which these are follows from a bound on the error: a sum of n products in float32 is off by
at most n * 2^-24 times the sum of their magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms", 3.1),
which is at most the product of the lengths of the two vectors.

`good` is higher for better rows, and at least as high as the exact value in the same units: the cosine; the dot product
divided by the length of the query; minus the distance.
"""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Metric
from pinyon.search.ranking import LARGEST
from pinyon.storage.postgres.connection.packed import vector_text

UNIT_ROUNDOFF = 2.0**-24
OTHER_STEPS = 16
"""Roundings beside those of the sum: of the query's numbers, of lengths, of the last operations."""
TIE = 4 * UNIT_ROUNDOFF
"""Scores are float32: values that differ by less than this share of them may be equal scores."""
LONGEST, SHORTEST = 1e18, 1e-15
"""Lengths of vectors between which no sum of pgvector overflows or loses its digits."""
SMALLEST = 1e-18
"""What is lost at most where numbers are too small for float32."""
OPERATORS: dict[Metric, str] = {"cosine": "<=>", "dotproduct": "<#>", "euclidean": "<->"}
"""pgvector's distances, which are lower for better rows."""


class Query(msgspec.Struct, frozen=True):
    """A query vector as PostgreSQL gets it.

    text: the vector; for cosine and dotproduct of length 1, because its length does not change the order. scale: what
    exact dot products are divided by to be in the units of `good`. is_zero: all its numbers are 0. is_extreme: no bound
    holds, so every row may be one of the best.
    """

    metric: Metric
    dimension: int
    text: str
    scale: float
    is_zero: bool = False
    is_extreme: bool = False

    @classmethod
    def of(cls, metric: Metric, vector: NDArray[np.float32]) -> "Query":
        """vector: float32 [dimension]."""
        exact = vector.astype(np.float64)
        length = float(np.sqrt(np.vecdot(exact, exact)))
        if metric == "euclidean":
            return cls(metric, len(vector), vector_text(vector), 1.0, is_extreme=length > LONGEST)
        if length == 0:
            return cls(metric, len(vector), vector_text(vector), 1.0, is_zero=True)
        return cls(metric, len(vector), vector_text((exact / length).astype(np.float32)), length)

    @property
    def distance(self) -> str:
        """The distance that an index orders by, as SQL with one parameter, the text."""
        return f"embedding {OPERATORS[self.metric]} %s::vector"

    @property
    def good(self) -> tuple[str, list[Any]]:
        """SQL over the table `vectors`, and its parameters."""
        if self.is_extreme:
            return "'Infinity'::float8", []
        if self.is_zero and self.metric == "cosine":
            return "0::float8", []  # every score is 0
        error = (3 * self.dimension + OTHER_STEPS) * UNIT_ROUNDOFF
        match self.metric:
            case "cosine":
                usual = f"1 - ({self.distance}) + {error!r}"
                text = f"CASE WHEN norm BETWEEN {SHORTEST} AND {LONGEST} THEN {usual} WHEN norm = 0 THEN 0 ELSE 2 END"
            case "dotproduct":
                usual = f"-({self.distance}) + norm * {error!r} + {SMALLEST}"
                text = f"CASE WHEN norm <= {LONGEST} THEN {usual} ELSE 'Infinity' END"
            case "euclidean":
                usual = f"-({self.distance}) * {1 - error!r} + {SMALLEST}"
                text = f"CASE WHEN norm <= {LONGEST} THEN {usual} ELSE 'Infinity' END"
        return text, [self.text]

    def least(self, score: float) -> float:
        """What `good` is at least for every row whose exact score ties with this one or is better."""
        if self.metric == "euclidean":
            return -math.inf if score >= LARGEST else -math.sqrt(max(score, 0.0)) * (1 + TIE) - SMALLEST
        if score <= -LARGEST:
            return -math.inf
        scaled = score / self.scale if self.metric == "dotproduct" else score
        return scaled - abs(scaled) * TIE - SMALLEST
