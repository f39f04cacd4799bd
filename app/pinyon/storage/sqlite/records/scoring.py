"""Scores the records of a namespace for a plan. Plain functions on a connection, inside the caller's snapshot."""

from typing import Any

import apsw
import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import IndexSpec, QueryPlan, SparseVector
from pinyon.filters import HasWords, has_words
from pinyon.search import retrieval
from pinyon.search.ranking import higher_is_better
from pinyon.storage.shared.lexical import LexicalScores
from pinyon.storage.shared.ranking import NO_ROWS, WORDS_BATCH, Ranking, Scored, of_products
from pinyon.storage.shared.row_sets import Records, RowSet
from pinyon.storage.shared.top_k import best
from pinyon.storage.sqlite.text import learned_vectors, lexical, sparse_index
from pinyon.storage.sqlite.vectors import vector_scan
from pinyon.storage.sqlite.vectors.vector_source import VectorSource

Vector = NDArray[np.float32]


class Scorer(msgspec.Struct, frozen=True):
    """Scores the records of one snapshot for one plan.

    vector: of the query, or of the record that the plan names. sparse_scores: the records that share terms with the
    query, and their sparse products. by_words: the records that share words with the plan's text and match the filter.
    background: fusion.background() of hybrid searches.
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

    def best(self, wanted: int, matching: RowSet | None) -> Ranking:
        """The best records, at least `wanted` of them or all; more if some tie with the last, or for a hybrid search.

        matching: the rows that may be among them; None: all of the namespace. They must match the plan's filter.
        Raises NeedsReaderThread.
        """
        parts = None
        if self.kind == "lexical":
            assert self.by_words is not None
            words = self.by_words.among(matching)
            rows, scores = best(words.records, words.scores.astype(np.float32), retrieval.depth(self.plan, wanted))
        elif self.kind == "hybrid":
            rows, scores, parts = self._hybrid(wanted, matching)
        else:
            rows, scores = self._nearest(wanted, matching)
        return Ranking(*self.in_order(rows, scores), parts)

    def in_order(self, rows: Records, scores: NDArray[np.float32]) -> Scored:
        """The same records, best first; ties are sorted by id."""
        is_metric = self.kind in ("dense", "sparse")  # higher BM25 and hybrid scores are better, whatever the metric
        good = higher_is_better(self.spec.metric, scores) if is_metric else scores
        order = np.argsort(-good, kind="stable")
        rows, scores = rows[order], scores[order]
        same = scores[1:] == scores[:-1]
        if same.any():
            tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
            id_rows: Any = self.source.connection.execute(
                "SELECT record, id FROM carray(?) CROSS JOIN records ON record = value", (apsw.carray(rows[tied]),)
            )
            ids = dict(id_rows)
            by_id = sorted(
                zip((-good[order[tied]]).tolist(), rows[tied].tolist(), strict=True),
                key=lambda row: (row[0], ids[row[1]]),
            )
            rows[tied] = [row for _, row in by_id]
        return rows, scores

    def _nearest(self, wanted: int, matching: RowSet | None) -> Scored:
        """By a dense vector, by terms with weights, or by both."""
        if self.vector is not None:
            more = self.sparse_scores
            return vector_scan.nearest(self.source, self.spec.metric, self.vector, wanted, matching, more)
        if self.sparse_scores is None:
            return NO_ROWS
        records, scores = of_products(self.sparse_scores, matching)
        if self.plan.words is not None:
            return _best_with_words(self.source.connection, records, scores, wanted, self.plan.words)
        return best(records, scores, wanted)

    def _hybrid(
        self, wanted: int, matching: RowSet | None
    ) -> tuple[Records, NDArray[np.float32], retrieval.HybridParts | None]:
        """By vector and by words. The candidates are the best of each side; both sides score every candidate."""
        assert self.vector is not None and self.by_words is not None
        source, plan, depth = self.source, self.plan, retrieval.depth(self.plan, wanted)
        words = self.by_words.among(matching)
        best_words = best(words.records, words.scores.astype(np.float32), depth)[0]
        nearest = vector_scan.nearest(source, "cosine", self.vector, depth, matching)[0]
        candidates = np.union1d(best_words, nearest)
        if not len(candidates):
            return candidates, np.empty(0, np.float32), None
        rows, cosines = vector_scan.nearest(source, "cosine", self.vector, len(candidates), RowSet.of_rows(candidates))
        by_row = np.argsort(rows)
        rows, cosines = rows[by_row], cosines[by_row]
        of_words = words.records, words.scores, words.shares
        learned = None
        if plan.learned is not None:
            learned = learned_vectors.scores(source.connection, source.ns, rows, plan.learned)
        weight = plan.similarity_weight
        scores, parts = retrieval.fuse(rows, cosines, self.background, *of_words, weight, learned, plan.mix)
        return rows, scores, parts


def scorer(
    source: VectorSource,
    spec: IndexSpec,
    plan: QueryPlan,
    vector: Vector | None,
    sparse: SparseVector | None,
    matching: RowSet | None,
    postings: lexical.Postings,
    background: float,
) -> Scorer:
    """A Scorer that has looked up the words and terms of the query.

    sparse: like vector. matching: the rows that match the plan's filter. postings: of the words. The rest as in Scorer.
    """
    prepared = Scorer(source, spec, plan, vector, background=background)
    if prepared.kind in ("lexical", "hybrid"):
        by_words = lexical.search(postings, spec, plan.text or "", matching)
        return msgspec.structs.replace(prepared, by_words=by_words)
    if sparse is None:
        return prepared
    rare_of = source.count if plan.by_rarity else None
    return msgspec.structs.replace(
        prepared, sparse_scores=sparse_index.dots(source.connection, source.ns, sparse, rare_of)
    )


def _best_with_words(
    connection: apsw.Connection, records: Records, scores: NDArray[np.float32], wanted: int, words: HasWords
) -> Scored:
    """Like best(), but only with records that have the words.

    Reads the records best first, and stops when no further one can be among the best.
    """
    order = np.argsort(-scores, kind="stable")
    with_words: list[int] = []
    for start in range(0, len(order), WORDS_BATCH):
        places = order[start : start + WORDS_BATCH]
        if len(with_words) >= wanted and scores[places[0]] < scores[with_words[wanted - 1]]:
            break
        rows: Any = connection.execute(
            "SELECT record, metadata FROM records WHERE record IN (SELECT value FROM carray(?))",
            (apsw.carray(np.ascontiguousarray(records[places])),),
        )
        texts: dict[int, str] = dict(rows)
        with_words += [place for place in places.tolist() if _has_words(texts[int(records[place])], words)]
    chosen = np.array(with_words, dtype=np.int64)
    return records[chosen], scores[chosen]


def _has_words(metadata: str, wanted: HasWords) -> bool:
    """Whether metadata, in JSON, have the words. Looks at the text first, so that few records are decoded."""
    lower = metadata.lower()
    return all(word in lower for word in wanted.words) and has_words(wanted, msgspec.json.decode(metadata))
