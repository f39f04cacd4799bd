"""Compares the two indexes of a copy: counts, sampled records, and the neighbours of some of them."""

import asyncio
import hashlib
from typing import Any

import msgspec
import numpy as np

from pinyon import decoding
from pinyon.cli.transfer.copies.job import fields_of
from pinyon.cli.transfer.copies.remote_index import RemoteIndex, Scored, Stats, Vector
from pinyon.cli.transfer.copies.state import CopyState, SampledRecord
from pinyon.errors import FailedPrecondition

TOP_K = 10
QUERIES = 20
"""Sampled records whose neighbours are compared."""
LEAST_OVERLAP = 0.9
"""Share of common neighbours below which the copy counts as wrong. Both sides may search approximately."""
SAME_SCORE = 1e-4
"""Scores that differ by less count as equal. Servers round differently."""
FIRST_WAIT_S = 0.5


class _Sparse(msgspec.Struct):
    indices: list[int] = []
    values: list[float] = []


class Verification(msgspec.Struct, frozen=True):
    """What was compared. overlap: mean share of common neighbours; None if nothing was asked. same_space: whether the
    neighbours have to be the same.
    """

    records: int
    namespaces: int
    sampled: int
    queries: int
    overlap: float | None
    same_space: bool


class Verifier:
    """Compares two indexes. Methods raise PinyonError."""

    def __init__(self, source: RemoteIndex, target: RemoteIndex, state: CopyState) -> None:
        self._source, self._target, self._state = source, target, state

    async def run(self, patience_s: float) -> Verification:
        """Compare the indexes, again for so many seconds if they differ: hosted indexes show writes a little later.

        Raises FailedPrecondition with the differences.
        """
        waited_s, wait_s = 0.0, FIRST_WAIT_S
        while True:
            source, target = await self._source.stats(), await self._target.stats()
            problems = self._counts(source, target) + await self._records()
            if not problems or waited_s >= patience_s:
                break
            await asyncio.sleep(min(wait_s, patience_s - waited_s))
            waited_s += wait_s
            wait_s *= 2
        same_space = not self._state.plan.reembed and source.metric == target.metric
        overlaps = [await self._overlap(each) for each in self._state.sample.records[:QUERIES]]
        mean = sum(overlaps) / len(overlaps) if overlaps else None
        if same_space and mean is not None and mean < LEAST_OVERLAP:
            problems.append(
                f"the {TOP_K} nearest records of {len(overlaps)} sampled records have an overlap of {mean:.2f} on both "
                f"sides, and at least {LEAST_OVERLAP} is expected"
            )
        if problems:
            more = f" (and {len(problems) - 3} more differences)" if len(problems) > 3 else ""
            raise FailedPrecondition(f"The copy is not like its source: {'; '.join(problems[:3])}{more}")
        records = sum(source.namespaces.get(name, 0) for name in self._state.namespaces)
        sampled = len(self._state.sample.records)
        return Verification(records, len(self._state.namespaces), sampled, len(overlaps), mean, same_space)

    def _counts(self, source: Stats, target: Stats) -> list[str]:
        """Namespaces with another number of records. A target that had records before may have more."""
        problems = []
        for name, progress in self._state.namespaces.items():
            there, here = source.namespaces.get(name, 0), target.namespaces.get(name, 0)
            if here < there or (here > there and not progress.had):
                problems.append(f"namespace '{name}' has {there} records in the source and {here} in the target")
        return problems

    async def _records(self) -> list[str]:
        """Sampled records that differ."""
        by_namespace: dict[str, list[str]] = {}
        for each in self._state.sample.records:
            by_namespace.setdefault(each.namespace, []).append(each.id)
        problems = []
        for name, ids in by_namespace.items():
            there, here = await self._checksums(self._source, name, ids), await self._checksums(self._target, name, ids)
            problems += [
                f"record '{id}' of namespace '{name}' {'differs' if id in here else 'is missing in the target'}"
                for id in ids
                if id in there and here.get(id) != there[id]
            ]
        return problems

    async def _checksums(self, index: RemoteIndex, namespace: str, ids: list[str]) -> dict[str, str]:
        plan = self._state.plan
        renamed = plan.renamed if index is self._source else {}
        vectors = await index.fetch(namespace, ids)
        return {vector.id: checksum(vector, not plan.reembed, renamed) for vector in vectors}

    async def _overlap(self, record: SampledRecord) -> float:
        """Share of the nearest records of the source that the target finds too."""
        there = await self._source.nearest(record.namespace, record.id, TOP_K)
        here = await self._target.nearest(record.namespace, record.id, TOP_K)
        return overlap(there, here)


def overlap(there: list[Scored], here: list[Scored]) -> float:
    """Share of the hits `there` that are among those `here`. Hits that tie with the last one may be any of the tied."""
    if not there:
        return 1.0
    ids, last = {hit.id for hit in there}, there[-1].score
    same = sum(hit.id in ids or abs(hit.score - last) <= SAME_SCORE * max(1.0, abs(last)) for hit in here)
    return min(1.0, same / len(there))


def checksum(vector: Vector, with_values: bool, renamed: dict[str, str]) -> str:
    """SHA-256 of a record, whatever way its server writes numbers and orders fields.

    with_values: include the vector. renamed: new names of fields, by the old ones.
    """
    fields = {renamed.get(name, name): _as_number(value) for name, value in fields_of(vector).items()}
    content = [msgspec.json.encode(fields, order="sorted")]
    if with_values:
        values, sparse = bytes(vector.values), bytes(vector.sparse_values)
        numbers: list[float] = msgspec.json.decode(values) if values else None  # type: ignore[assignment]
        content.append(np.array(numbers or [], np.float32).tobytes())
        terms = decoding.decode(sparse, _Sparse | None) if sparse else None
        pairs = sorted(zip(terms.indices, terms.values, strict=True)) if terms else []
        content += [np.array([index for index, _ in pairs], np.uint32).tobytes()]
        content += [np.array([value for _, value in pairs], np.float32).tobytes()]
    return hashlib.sha256(b"\0".join(content)).hexdigest()


def _as_number(value: Any) -> Any:
    """2020 and 2020.0 are the same number, and some servers write one as the other."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
