"""Scores the records of a namespace for a plan. Plain functions on a connection, inside the caller's snapshot."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec, QueryPlan
from pinyon.filters import Condition, HasWords, has_words
from pinyon.search import retrieval
from pinyon.search.ranking import higher_is_better
from pinyon.storage.postgres.connection.packed import integers
from pinyon.storage.postgres.filters.filter_sql import compile_filter
from pinyon.storage.postgres.filters.joins import filtering
from pinyon.storage.postgres.text import learned_vectors
from pinyon.storage.postgres.vectors.nearest import Among, VectorSource, nearest
from pinyon.storage.shared.lexical import LexicalScores
from pinyon.storage.shared.ranking import NO_ROWS, WORDS_BATCH, Ranking, Scored, of_products
from pinyon.storage.shared.row_sets import Records, RowSet
from pinyon.storage.shared.top_k import best

Vector = NDArray[np.float32]


class Scorer(msgspec.Struct, frozen=True):
    """Scores the records of one snapshot for one plan.

    vector: of the query, or of the record that the plan names. sparse_scores: the records that share terms with the
    query, and their sparse products. by_words: the records that share words with the plan's text. background:
    fusion.background() of hybrid searches.
    """

    source: VectorSource
    spec: IndexSpec
    plan: QueryPlan
    vector: Vector | None
    sparse_scores: tuple[Records, NDArray[np.float64]] | None = None
    by_words: LexicalScores | None = None
    background: float = 0.0

    @property
    def kind(self) -> retrieval.Kind:
        """How the records are scored."""
        return retrieval.kind(self.plan, self.vector is not None)

    async def best(self, wanted: int, condition: Condition | None) -> Ranking:
        """The best records, at least `wanted` of them or all; more if some tie with the last, or for a hybrid search.

        condition: what they must match; None: all of the namespace. It includes the plan's filter.
        """
        parts = None
        if self.kind == "lexical":
            words = await self._words_among(condition)
            rows, scores = best(words.records, words.scores.astype(np.float32), retrieval.depth(self.plan, wanted))
        elif self.kind == "hybrid":
            rows, scores, parts = await self._hybrid(wanted, condition)
        else:
            rows, scores = await self._nearest(wanted, condition)
        return Ranking(*await self.in_order(rows, scores), parts)

    async def in_order(self, rows: Records, scores: NDArray[np.float32]) -> Scored:
        """The same records, best first; ties are sorted by id."""
        is_metric = self.kind in ("dense", "sparse")  # higher BM25 and hybrid scores are better, whatever the metric
        good = higher_is_better(self.spec.metric, scores) if is_metric else scores
        order = np.argsort(-good, kind="stable")
        rows, scores = rows[order], scores[order]
        same = scores[1:] == scores[:-1]
        if same.any():
            tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
            place_of_id = await self._places_by_id(rows[tied])
            values = -good[order[tied]]
            rows[tied] = rows[tied][np.lexsort((place_of_id, values))]
        return rows, scores

    async def _places_by_id(self, rows: Records) -> NDArray[np.int64]:
        """The place of each row, int64 [n], if they are sorted by their ids."""
        cursor = self.source.connection.cursor(binary=True)
        await cursor.execute(
            "SELECT string_agg(int8send(record), '' ORDER BY id) FROM records"
            f" WHERE {self.source.ns.rows} AND record = ANY(%s)",
            (rows.tolist(),),
        )
        row = await cursor.fetchone()
        by_id = integers(None if row is None else row[0])
        order = np.argsort(by_id)
        return order[np.searchsorted(by_id[order], rows)]

    async def matching(self, rows: Records, condition: Condition | None) -> RowSet | None:
        """Those of the rows that match. None if there is no condition."""
        if condition is None:
            return None
        text, parameters = compile_filter(condition, self.source.ns)
        cursor = self.source.connection.cursor(binary=True)
        async with filtering(self.source.connection, self.source.ns):
            await cursor.execute(
                "SELECT string_agg(int8send(record), '' ORDER BY record) FROM records"
                f" WHERE {self.source.ns.rows} AND record = ANY(%s) AND {text}",
                [rows.tolist(), *parameters],
            )
            row = await cursor.fetchone()
        return RowSet.of_rows(integers(None if row is None else row[0]))

    async def _words_among(self, condition: Condition | None) -> LexicalScores:
        assert self.by_words is not None
        return self.by_words.among(await self.matching(self.by_words.records, condition))

    async def _nearest(self, wanted: int, condition: Condition | None) -> Scored:
        """By a dense vector, by terms with weights, or by both."""
        if self.vector is not None:
            among = Among(condition)
            return await nearest(self.source, self.spec.metric, self.vector, wanted, among, self.sparse_scores)
        if self.sparse_scores is None:
            return NO_ROWS
        records, scores = of_products(self.sparse_scores, await self.matching(self.sparse_scores[0], condition))
        if self.plan.words is not None:
            return await self._best_with_words(records, scores, wanted, self.plan.words)
        return best(records, scores, wanted)

    async def _hybrid(
        self, wanted: int, condition: Condition | None
    ) -> tuple[Records, NDArray[np.float32], retrieval.HybridParts | None]:
        """By vector and by words. The candidates are the best of each side; both sides score every candidate."""
        assert self.vector is not None
        source, plan, depth = self.source, self.plan, retrieval.depth(self.plan, wanted)
        words = await self._words_among(condition)
        best_words = best(words.records, words.scores.astype(np.float32), depth)[0]
        near = (await nearest(source, "cosine", self.vector, depth, Among(condition)))[0]
        candidates = np.union1d(best_words, near)
        if not len(candidates):
            return candidates, np.empty(0, np.float32), None
        rows, cosines = await nearest(source, "cosine", self.vector, len(candidates), Among(rows=candidates))
        by_row = np.argsort(rows)
        rows, cosines = rows[by_row], cosines[by_row]
        learned = None
        if plan.learned is not None:
            learned = await learned_vectors.scores(source.connection, source.ns, rows, plan.learned)
        of_words = words.records, words.scores, words.shares
        scores, parts = retrieval.fuse(
            rows, cosines, self.background, *of_words, plan.similarity_weight, learned, plan.mix
        )
        return rows, scores, parts

    async def _best_with_words(
        self, records: Records, scores: NDArray[np.float32], wanted: int, words: HasWords
    ) -> Scored:
        """Like top_k.best(), but only with records that have the words.

        Reads the records best first, and stops when no further one can be among the best.
        """
        order = np.argsort(-scores, kind="stable")
        with_words: list[int] = []
        for start in range(0, len(order), WORDS_BATCH):
            places = order[start : start + WORDS_BATCH]
            if len(with_words) >= wanted and scores[places[0]] < scores[with_words[wanted - 1]]:
                break
            cursor = await self.source.connection.execute(
                f"SELECT record, metadata FROM records WHERE {self.source.ns.rows} AND record = ANY(%s)",
                (records[places].tolist(),),
            )
            texts: dict[int, str] = dict(await cursor.fetchall())
            with_words += [
                place for place in places.tolist() if has_words(words, msgspec.json.decode(texts[int(records[place])]))
            ]
        chosen = np.array(with_words, dtype=np.int64)
        return records[chosen], scores[chosen]
