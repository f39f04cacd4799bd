"""Approximate nearest neighbours: an inverted file (IVF) over the vectors of one namespace, by Faiss.

A query first scores short codes, of half a byte for one to four numbers (product quantisation, Jegou et al. 2011, in
the layout of Andre et al. 2015). It scores the best of them again by longer codes, of a byte for each number (sq8.py).
Then it estimates how many of the nearest rows the short codes have missed. If these are too many, it takes more rows,
or asks for all rows to be compared (pq_check.py). Every query scores the vectors that the short codes represent badly.
The result is candidates: which rows to score exactly, and no scores.

Up to a million vectors there is one cell. More vectors are divided into cells by k-means, and a query looks into the
cells nearest to it. How many is measured when the inverted file is built (nprobe.py). Knows no SQL.
"""

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinyon import metrics
from pinyon.domain import Metric
from pinyon.storage.shared.row_sets import Bits, Records, Vectors, in_bits
from pinyon.storage.sqlite.ivf import nprobe
from pinyon.storage.sqlite.ivf.nprobe import MEASURED_K, QUERIES, TARGET_RECALL, CalibrationQueries, MeasuredNprobe
from pinyon.storage.sqlite.ivf.pq_check import LARGEST_SHARE, TRIES, CodeErrors, ShortList, factor_of_more_rows
from pinyon.storage.sqlite.ivf.pq_codes import badly_coded, codebook, coding_errors, faiss
from pinyon.storage.sqlite.ivf.shared_lock import SharedLock
from pinyon.storage.sqlite.ivf.sq8 import Sq8Codes, kth_best, may_be_nearest
from pinyon.storage.sqlite.options import AS_MEASURED, Tuning

MOST_CELLS = 4_096
TRAINED_ON = 32
"""Vectors per cell that k-means is trained on."""
LEAST_SAMPLE = 16_384
"""Fewest vectors that the codes are trained on. More make them hardly better."""
ROUNDS = 8
"""Rounds of k-means. More find hardly better cells."""
FEW_QUERIES = 64
"""Sample size for checking code precision; choosing nprobe needs more."""
FORGETTING, RETRY_EVERY = 0.02, 32
"""FORGETTING: the weight of the latest query in the share of queries that end in comparing all rows. RETRY_EVERY: where
that share is too large, one of so many queries tries the codes all the same."""
ROW_NS, SCAN_NS = 250, 8
"""About the time to score the code of a single row, and of a row among the others of its cell, in nanoseconds."""
TOGETHER = 64
"""Codes that Faiss stores and scores together. This is a tenth faster than its default of 32."""
ADDED_AT_ONCE = 256
"""Vectors that are added together. Searches wait for some milliseconds meanwhile."""
MOST_REMEMBERED = 1_000
"""Values of k whose number of cells is remembered."""


@lru_cache(maxsize=256)
def _unfiltered(cells: int) -> Any:
    """Parameters of a search in so many cells, without a filter."""
    return faiss().SearchParametersIVF(nprobe=cells)


def short_list_size(k: int) -> int:
    """How many rows a search by short codes must bring, so that the k nearest are among them."""
    return int(k * max(6.5, 24 * (10 / max(k, 10)) ** 0.3)) + 8


class IvfIndex:
    """Finds rows near to a query. Safe for several threads. version: of the namespace whose vectors it holds.

    errors: of the short codes. badly_coded: sorted rows that every query scores by the longer codes.
    """

    def __init__(
        self,
        index: Any,
        codes: Sq8Codes,
        metric: Metric,
        version: int,
        measured: tuple[MeasuredNprobe, ...],
        alive: Records,
        errors: CodeErrors,
        badly_coded: Records,
    ) -> None:
        self.version, self.calibration = version, measured
        self._index, self._codes, self._metric = index, codes, metric
        self._exists = np.zeros(0, dtype=bool)
        self._nprobes: dict[int, int] = {}
        self._lock = SharedLock()
        self._errors = errors
        self._bad = np.zeros(0, dtype=bool)
        self._bad_when_built = len(badly_coded)
        self._full_scans, self._queries = 0.0, 0
        self._mark(np.empty(0, np.int64), alive, badly_coded)

    def candidates(
        self, query: Vectors, count: int, share: float = 1.0, allowed: Bits | None = None, recall: float = 0.98
    ) -> Records | None:
        """Sorted numbers of the rows that may be among the `count` nearest; None: compare all rows.

        query: float32 [dimension]. allowed: the rows that match a filter, which are a `share` of all. recall: share of
        the nearest rows that must be among the candidates on average.
        """
        self._queries += 1
        if self._full_scans > AS_MEASURED.most_full_scans and self._queries % RETRY_EVERY:
            return None
        target = _prepared_one(query, self._metric)
        with self._lock.shared():
            rows = self._candidates(target, count, share, allowed, recall)
        self._full_scans += FORGETTING * ((rows is None) - self._full_scans)
        return rows

    def _candidates(
        self, target: Vectors, count: int, share: float, allowed: Bits | None, recall: float
    ) -> Records | None:
        cells = self.nprobe_for(count / max(share, 1e-9))
        some_gone = self._alive < self._index.ntotal
        if allowed is None and some_gone:
            allowed = self._bits
        if allowed is None:
            parameters = _unfiltered(cells)
        else:
            parameters = faiss().SearchParametersIVF(nprobe=cells, sel=faiss().IDSelectorBitmap(allowed))
        bad = self._bad_rows
        if len(bad) and allowed is not None:
            bad = bad[in_bits(allowed, bad)]
        bad_scores = self._codes.scores(target, bad, self._metric) if len(bad) else None
        length = self._codes.length_around(target) if self._metric == "euclidean" else 0.0
        size, most = short_list_size(count), max(LARGEST_SHARE * self._alive * share, 1)
        for _ in range(TRIES):
            scores, numbers = self._index.search(target[None, :], size, params=parameters)
            rows, short = numbers[0], scores[0]
            is_all = rows[-1] < 0  # Faiss fills up with -1: there are no more rows
            if is_all:
                rows, short = rows[rows >= 0], short[: int((rows >= 0).sum())]
            if some_gone:  # a row that was changed may also be found at its old place
                first = np.sort(np.unique(rows, return_index=True)[1])
                rows, short = rows[first], short[first]
            if len(bad):
                well = ~self._bad[rows]
                rows, short = rows[well], short[well]
            good, off = self._codes.scores(target, rows, self._metric)
            if self._metric == "euclidean":
                short = length - short
            every, all_good, all_off = rows, good, off
            if bad_scores is not None:
                every = np.concatenate([rows, bad])
                all_good, all_off = np.concatenate([good, bad_scores[0]]), np.concatenate([off, bad_scores[1]])
            factor: float | None = None if is_all else 2.0
            kth = kth_best(all_good, all_off, count) if len(every) > count else -np.inf
            if not is_all and len(every) > count:
                short_list = ShortList(short, good, count, kth, max(length - kth, 0.0))
                factor = factor_of_more_rows(short_list, self._errors, target, self._metric, (1 - recall) * count)
            if factor is None:
                return np.sort(may_be_nearest(every, all_good, all_off, kth))
            if size * factor > most:
                break
            size = int(size * factor)
            metrics.looked_further()
        metrics.compared_all()
        return None

    def candidates_among(self, query: Vectors, rows: Records, count: int) -> Records:
        """As candidates(), of these rows alone. Scores each of them by its longer code."""
        target = _prepared_one(query, self._metric)
        with self._lock.shared():
            known = self._codes.known(rows)
            return np.sort(self._codes.nearest(target, known, count, self._metric))

    def is_faster_among(self, count: int, rows: int, share: float) -> bool:
        """Whether candidates_among() so many rows, a `share` of all, is faster than candidates()."""
        scanned = self._index.ntotal * self.nprobe_for(count / max(share, 1e-9)) / self._index.nlist
        return bool(rows * ROW_NS < scanned * SCAN_NS)

    def nprobe_for(self, k: float) -> int:
        """How many cells to look into for k hits."""
        k = round(k)
        if k in self._nprobes:
            return self._nprobes[k]
        cells = nprobe.nprobe_for(self.calibration, k, self._index.nlist)
        if len(self._nprobes) < MOST_REMEMBERED:
            self._nprobes[k] = cells
        return cells

    def replace(self, changed: Records, rows: Records, vectors: Vectors, version: int) -> None:
        """Replace the vectors of changed rows. Changed rows that are not in `rows` are deleted."""
        prepared = _prepared(vectors, self._metric)
        bad = rows[badly_coded(self._index, self._errors, prepared)]
        for start in range(0, len(rows), ADDED_AT_ONCE):
            part = slice(start, start + ADDED_AT_ONCE)
            with self._lock.alone():  # a query's filter may know of these rows before they are marked
                self._bad = _longer(self._bad, int(rows[part].max()) + 1)
                self._index.add_with_ids(prepared[part], rows[part])
                self._codes.put(rows[part], prepared[part])
        with self._lock.alone():
            self._mark(changed, rows, bad)
            self.version = version

    def _mark(self, gone: Records, rows: Records, bad: Records) -> None:
        """Mark rows that are gone, rows that are new, and those of the new ones that are badly coded."""
        top = int(max(gone.max(initial=-1), rows.max(initial=-1), bad.max(initial=-1))) + 1
        exists, is_bad = (_longer(flags, top) for flags in (self._exists, self._bad))
        exists[gone], is_bad[gone] = False, False
        exists[rows], is_bad[bad] = True, True
        self._exists, self._bits, self._alive = exists, np.packbits(exists, bitorder="little"), int(exists.sum())
        self._bad, self._bad_rows = is_bad, np.flatnonzero(is_bad)

    def without_statistics(self) -> "IvfIndex":
        """This one, with its counts of queries set to zero."""
        self._full_scans, self._queries = 0.0, 0
        return self

    @property
    def stale(self) -> float:
        """Share of the entries that belong to deleted or changed rows."""
        return float(1 - self._alive / max(self._index.ntotal, 1))

    @property
    def badly_coded(self) -> float:
        """Share of the rows that are badly coded and were added after it was built."""
        return (len(self._bad_rows) - self._bad_when_built) / max(self._alive, 1)

    @property
    def size(self) -> int:
        """Number of entries, also those of deleted rows."""
        return int(self._index.ntotal)

    @property
    def nbytes(self) -> int:
        """Memory it takes, about."""
        cells = self._index.nlist * self._index.d * 4
        return int(self._index.ntotal * (self._index.code_size + 8) + cells + self._codes.nbytes + len(self._exists))

    @property
    def rows(self) -> Records:
        """Numbers of the rows that have a code, also of deleted rows."""
        return self._codes.rows[: self._codes.used]

    def save(self, path: Path) -> int:
        """Write it to two files, this and codes_file(path). Returns the version that they hold."""
        with self._lock.shared():
            faiss().write_index(self._index, str(path))
            self._codes.save(
                codes_file(path),
                {
                    "variances": self._errors.variances,
                    "most": np.array(self._errors.most),
                    "badly_coded": self._bad_rows,
                },
            )
            return self.version

    @classmethod
    def load(
        cls, path: Path, metric: Metric, version: int, measured: tuple[MeasuredNprobe, ...], alive: Records
    ) -> "IvfIndex":
        """Read what save() wrote. alive: the rows that exist. Raises RuntimeError, OSError or ValueError."""
        codes, arrays = Sq8Codes.load(codes_file(path))
        index = faiss().read_index(str(path))
        errors = CodeErrors.of(arrays["variances"], float(arrays["most"]), codebook(index))
        bad = arrays["badly_coded"]
        return cls(index, codes, metric, version, measured, alive, errors, bad)


def codes_file(path: Path) -> Path:
    """The file with the byte codes, beside the one with the inverted file."""
    return path.with_name(path.name + ".codes")


class Builder:
    """Builds an inverted file in parts: train() once, add() for every part, then finish()."""

    def __init__(self, metric: Metric, dimension: int, count: int, tuning: Tuning = AS_MEASURED) -> None:
        """count: about how many vectors will be added. tuning: one_cell_to and most_full_scans."""
        self._metric, self._count, self._most_full_scans = metric, count, tuning.most_full_scans
        self.cells = 1 if count <= tuning.one_cell_to else int(np.clip(4 * np.sqrt(count), 16, MOST_CELLS))
        kind = faiss().METRIC_L2 if metric == "euclidean" else faiss().METRIC_INNER_PRODUCT
        finest = 1 + sum(dimension >= least for least in (128, 256, 384))  # the errors of many parts average out
        part = next(size for size in (4, 3, 2, 1) if size <= finest and dimension % size == 0)
        self._index = faiss().index_factory(dimension, f"IVF{self.cells},PQ{dimension // part}x4fs_{TOGETHER}", kind)
        self._index.cp.niter, self._index.cp.max_points_per_centroid = ROUNDS, TRAINED_ON
        self._index.cp.min_points_per_centroid = 1
        self._index.cp.spherical = metric == "cosine"
        self._alive: list[Records] = []
        self._bad: list[Records] = []

    @property
    def sample(self) -> int:
        """How many vectors train() needs."""
        return max(self.cells * TRAINED_ON, LEAST_SAMPLE)

    def train(self, vectors: Vectors) -> None:
        """Train cells and codes on vectors drawn at random, float32 [n, dimension]."""
        prepared = _prepared(vectors, self._metric)
        self._index.train(prepared)
        self._errors = CodeErrors.measured(coding_errors(self._index, prepared), codebook(self._index))
        self._codes = Sq8Codes.fitted(prepared, self._count + self._count // 20)
        self._queries = CalibrationQueries(prepared, self._metric, QUERIES if self.cells > 1 else FEW_QUERIES)

    def add(self, rows: Records, vectors: Vectors) -> None:
        """Add vectors, float32 [n, dimension], of these rows."""
        prepared = _prepared(vectors, self._metric)
        self._index.add_with_ids(prepared, rows)
        self._codes.put(rows, prepared)
        self._bad.append(rows[badly_coded(self._index, self._errors, prepared)])
        self._alive.append(rows.copy())
        self._queries.add(rows, prepared)

    def finish(self, version: int) -> IvfIndex | None:
        """The inverted file with its nprobe measured; None if the codes are too coarse for these vectors."""
        nearest, queries = self._queries.nearest(), _prepared(self._queries.vectors, self._metric)
        ks = [k for k in MEASURED_K if k <= nearest.shape[1]]
        if not ks:
            return None
        # One search of all cells is enough: fewer cells find those of its rows that are in them.
        parameters = faiss().SearchParametersIVF(nprobe=self.cells)
        _, best = self._index.search(queries, short_list_size(ks[-1]), params=parameters)
        _, order = self._index.quantizer.search(queries, self.cells)
        cell_ranks = np.take_along_axis(np.argsort(order, axis=1), self._cells_of(nearest), axis=1)
        measured: list[MeasuredNprobe] = []
        for k in ks:
            is_found = np.array(
                [np.isin(rows, some) for rows, some in zip(nearest[:, :k], best[:, : short_list_size(k)], strict=True)]
            )
            cells = nprobe.smallest_nprobe(is_found, cell_ranks[:, :k], TARGET_RECALL[k])
            measured.append(MeasuredNprobe(k, min(cells, self.cells)))
        alive = np.unique(np.concatenate(self._alive))
        bad = np.concatenate(self._bad)
        file = IvfIndex(self._index, self._codes, self._metric, version, tuple(measured), alive, self._errors, bad)
        few = queries[:FEW_QUERIES]
        full_scans = sum(file.candidates(query, ks[0]) is None for query in few)
        return None if full_scans > self._most_full_scans * len(few) else file.without_statistics()

    def _cells_of(self, rows: Records) -> Records:
        """The cell that each row is in."""
        lists = self._index.invlists
        cell_of = np.zeros(max(int(some.max()) for some in self._alive) + 1, np.int64)
        for cell in range(self.cells):
            if count := lists.list_size(cell):
                cell_of[faiss().rev_swig_ptr(lists.get_ids(cell), count)] = cell
        return cell_of[rows]


def _longer(flags: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """A copy of at least this length."""
    longer = np.zeros(max(least, len(flags)), dtype=bool)
    longer[: len(flags)] = flags
    return longer


def use_threads(count: int) -> None:
    """Set how many threads Faiss uses in calls from this thread."""
    faiss().omp_set_num_threads(count)


def trim_memory() -> None:
    """Give free memory back to the system. glibc keeps 80 MB after a million vectors were built."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _prepared(vectors: Vectors, metric: Metric) -> Vectors:
    """The vectors as Faiss takes them, float32 [n, dimension], contiguous. For cosine of unit length, or zero."""
    if metric == "cosine":
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _prepared_one(vector: Vectors, metric: Metric) -> Vectors:
    """As _prepared(), of one vector, float32 [dimension]."""
    length = np.linalg.norm(vector) if metric == "cosine" else 0
    return np.ascontiguousarray(vector / length if length > 0 else vector, dtype=np.float32)
