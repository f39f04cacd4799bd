"""Approximate nearest neighbours: an inverted file (IVF) over the vectors of one namespace, by Faiss.

A query looks at codes of half a byte for one to four numbers (product quantisation, Jegou et al. 2011, laid out as
Andre et al. 2015 do), and then at codes of a byte for each number of those that look best. It then checks whether what
the short codes cut off may have been among the nearest, and if so looks at more of them, or asks for all rows to be
compared (pq_check.py). Vectors that the short codes represent badly are looked at by every query. What is found are
candidates: which rows to score exactly, never scores. Up to a million vectors there is one cell; more are divided by
k-means, and a query looks into the cells nearest to it: how many is measured when the file is built (calibration.py).
Knows no SQL.
"""

import ctypes
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinyon import metrics
from pinyon.domain import Metric
from pinyon.storage.sqlite.ivf import nprobe
from pinyon.storage.sqlite.ivf.nprobe import DEPTHS, QUESTIONS, REACHED, Cells, Questions
from pinyon.storage.sqlite.ivf.pq_check import LARGEST_SHARE, TRIES, CodeErrors, Seen, look_further
from pinyon.storage.sqlite.ivf.shared_lock import SharedLock
from pinyon.storage.sqlite.ivf.sq8 import Codes, kth_best, may_be_nearest
from pinyon.storage.sqlite.row_sets import Bits, Records, Vectors, in_bits

ONE_CELL_TO = 1_000_000
"""Vectors up to which all codes are looked at: that takes about as long as choosing cells, and finds more."""
MOST_CELLS = 4_096
TRAINED_ON = 32
"""Vectors per cell that k-means sees."""
LEAST_SAMPLE = 16_384
"""Vectors that the codes are made from, at least; more make them hardly better."""
ROUNDS = 8
"""Of k-means; more find hardly better cells."""
FEW_QUESTIONS = 64
"""Are enough to see whether codes are fine enough; how many cells are needed takes more."""
MOSTLY, FORGETTING, PROBED = 0.5, 0.02, 32
"""Share of queries that end in comparing all, from which on the codes are too coarse; how fast older ones are
forgotten; and that every so many'th query tries all the same."""
MEASURED = 4_096
"""Vectors whose codes are compared with them at a time."""
ALONE_NS, IN_CELLS_NS = 250, 8
"""What it takes, about, to look at the codes of a row by itself, and beside the others of its cell."""
TOGETHER = 64
"""Codes that Faiss lays out, and looks at, together: a tenth quicker than its own 32."""
ADDED_AT_ONCE = 256
"""Vectors that searches wait for: some milliseconds."""
MOST_REMEMBERED = 1_000


@cache
def faiss() -> Any:
    """The library, imported when the first namespace is large enough: it takes 0.2 s and 50 MB."""
    return import_module("faiss")


@lru_cache(maxsize=256)
def _everything(cells: int) -> Any:
    """Parameters of a search among all that so many cells hold."""
    return faiss().SearchParametersIVF(nprobe=cells)


def looked_at(depth: int) -> int:
    """How many rows the short codes have to bring, so that the best `depth` are among them."""
    return int(depth * max(6.5, 24 * (10 / max(depth, 10)) ** 0.3)) + 8


class InvertedFile:
    """Row numbers by nearness. version: of the namespace whose vectors it holds. Safe for several threads.

    errors: of the short codes. badly_coded: sorted rows that the longer codes are asked about by every query.
    """

    def __init__(
        self,
        index: Any,
        codes: Codes,
        metric: Metric,
        version: int,
        measured: tuple[Cells, ...],
        alive: Records,
        errors: CodeErrors,
        badly_coded: Records,
    ) -> None:
        self.version, self.calibration = version, measured
        self._index, self._codes, self._metric = index, codes, metric
        self._there = np.zeros(0, dtype=bool)
        self._cells_for: dict[int, int] = {}
        self._lock = SharedLock()
        self._errors = errors
        self._bad = np.zeros(0, dtype=bool)
        self._bad_when_built = len(badly_coded)
        self._compared_all, self._queries = 0.0, 0
        self._note(np.empty(0, np.int64), alive, badly_coded)

    def candidates(
        self, query: Vectors, count: int, share: float = 1.0, allowed: Bits | None = None, recall: float = 0.98
    ) -> Records | None:
        """Row numbers that may be among the `count` nearest, sorted, each once; None: compare all rows.

        query: float32 [dimension]. allowed: the rows a filter keeps, which are a `share` of all. recall: share of the
        nearest that must be among them on average.
        """
        self._queries += 1
        if self._compared_all > MOSTLY and self._queries % PROBED:
            return None
        target = _prepared_one(query, self._metric)
        with self._lock.shared():
            found = self._found(target, count, share, allowed, recall)
        self._compared_all += FORGETTING * ((found is None) - self._compared_all)
        return found

    def _found(self, target: Vectors, count: int, share: float, allowed: Bits | None, recall: float) -> Records | None:
        cells = self.cells_for(count / max(share, 1e-9))
        some_gone = self._alive < self._index.ntotal
        if allowed is None and some_gone:
            allowed = self._bits
        if allowed is None:
            parameters = _everything(cells)
        else:
            parameters = faiss().SearchParametersIVF(nprobe=cells, sel=faiss().IDSelectorBitmap(allowed))
        bad = self._bad_rows
        if len(bad) and allowed is not None:
            bad = bad[in_bits(allowed, bad)]
        bad_scores = self._codes.scores(target, bad, self._metric) if len(bad) else None
        length = self._codes.length_around(target) if self._metric == "euclidean" else 0.0
        looked, most = looked_at(count), max(LARGEST_SHARE * self._alive * share, 1)
        for _ in range(TRIES):
            scores, numbers = self._index.search(target[None, :], looked, params=parameters)
            rows, short = numbers[0], scores[0]
            whole = rows[-1] < 0  # there are not so many: nothing was cut off
            if whole:
                rows, short = rows[rows >= 0], short[: int((rows >= 0).sum())]
            if some_gone:  # a row that was changed may be found where it was, too
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
            factor: float | None = None if whole else 2.0
            kth = kth_best(all_good, all_off, count) if len(every) > count else -np.inf
            if not whole and len(every) > count:
                seen = Seen(short, good, count, kth, max(length - kth, 0.0))
                factor = look_further(seen, self._errors, target, self._metric, (1 - recall) * count)
            if factor is None:
                return np.sort(may_be_nearest(every, all_good, all_off, kth))
            if looked * factor > most:
                break
            looked = int(looked * factor)
            metrics.looked_further()
        metrics.compared_all()
        return None

    def among(self, query: Vectors, rows: Records, count: int) -> Records:
        """As candidates(), of these rows alone, each of which is looked at."""
        target = _prepared_one(query, self._metric)
        with self._lock.shared():
            known = self._codes.known(rows)
            return np.sort(self._codes.nearest(target, known, count, self._metric))

    def sooner_alone(self, count: int, rows: int, share: float) -> bool:
        """Whether to look at each of so many rows is quicker than to look for those of them that are near."""
        seen = self._index.ntotal * self.cells_for(count / max(share, 1e-9)) / self._index.nlist
        return bool(rows * ALONE_NS < seen * IN_CELLS_NS)

    def cells_for(self, depth: float) -> int:
        """How many cells to look into for that many hits, between and beyond the measured depths on a log scale."""
        depth = round(depth)
        if depth in self._cells_for:
            return self._cells_for[depth]
        found = nprobe.cells_for(self.calibration, depth, self._index.nlist)
        if len(self._cells_for) < MOST_REMEMBERED:
            self._cells_for[depth] = found
        return found

    def replace(self, changed: Records, rows: Records, vectors: Vectors, version: int) -> None:
        """Take in the vectors that changed rows have now; rows that are not in `rows` are gone."""
        prepared = _prepared(vectors, self._metric)
        bad = rows[badly_coded(self._index, self._errors, prepared)]
        for start in range(0, len(rows), ADDED_AT_ONCE):
            part = slice(start, start + ADDED_AT_ONCE)
            with self._lock.alone():  # a query's filter may know of these rows before they are noted
                self._bad = _longer(self._bad, int(rows[part].max()) + 1)
                self._index.add_with_ids(prepared[part], rows[part])
                self._codes.put(rows[part], prepared[part])
        with self._lock.alone():
            self._note(changed, rows, bad)
            self.version = version

    def _note(self, gone: Records, rows: Records, bad: Records) -> None:
        """Rows that are gone or new, and which of the new ones are badly coded."""
        top = int(max(gone.max(initial=-1), rows.max(initial=-1), bad.max(initial=-1))) + 1
        there, is_bad = (_longer(flags, top) for flags in (self._there, self._bad))
        there[gone], is_bad[gone] = False, False
        there[rows], is_bad[bad] = True, True
        self._there, self._bits, self._alive = there, np.packbits(there, bitorder="little"), int(there.sum())
        self._bad, self._bad_rows = is_bad, np.flatnonzero(is_bad)

    def fresh(self) -> "InvertedFile":
        """This one, with no query counted yet."""
        self._compared_all, self._queries = 0.0, 0
        return self

    @property
    def stale(self) -> float:
        """Share of what is held that is of rows gone or changed."""
        return float(1 - self._alive / max(self._index.ntotal, 1))

    @property
    def badly_coded(self) -> float:
        """Share of what is held that is badly coded, and was not when it was built."""
        return (len(self._bad_rows) - self._bad_when_built) / max(self._alive, 1)

    @property
    def size(self) -> int:
        """Vectors held."""
        return int(self._index.ntotal)

    @property
    def nbytes(self) -> int:
        """Memory it takes, about."""
        cells = self._index.nlist * self._index.d * 4
        return int(self._index.ntotal * (self._index.code_size + 8) + cells + self._codes.nbytes + len(self._there))

    @property
    def held_rows(self) -> Records:
        """Row numbers that are held, also of rows gone."""
        return self._codes.rows[: self._codes.used]

    def save(self, path: Path) -> int:
        """Write it to two files, this and the one beside it; the version that is in them."""
        with self._lock.shared():
            faiss().write_index(self._index, str(path))
            self._codes.save(
                beside(path),
                {
                    "variances": self._errors.variances,
                    "most": np.array(self._errors.most),
                    "badly_coded": self._bad_rows,
                },
            )
            return self.version

    @classmethod
    def load(
        cls, path: Path, metric: Metric, version: int, measured: tuple[Cells, ...], alive: Records
    ) -> "InvertedFile":
        """Read one that save() wrote; alive: the rows there are. Raises RuntimeError, OSError or ValueError else."""
        codes, arrays = Codes.load(beside(path))
        errors = CodeErrors(arrays["variances"], float(arrays["most"]))
        bad = arrays["badly_coded"]
        return cls(faiss().read_index(str(path)), codes, metric, version, measured, alive, errors, bad)


def beside(path: Path) -> Path:
    """Where the byte codes are."""
    return path.with_name(path.name + ".codes")


class Builder:
    """Makes an inverted file, a part at a time: train() once, add() for every part, then finish()."""

    def __init__(self, metric: Metric, dimension: int, count: int) -> None:
        """count: about how many vectors there will be."""
        self._metric, self._count = metric, count
        self.cells = 1 if count <= ONE_CELL_TO else int(np.clip(4 * np.sqrt(count), 16, MOST_CELLS))
        kind = faiss().METRIC_L2 if metric == "euclidean" else faiss().METRIC_INNER_PRODUCT
        finest = 1 + sum(dimension >= least for least in (128, 256, 384))  # errors of many parts even out
        part = next(size for size in (4, 3, 2, 1) if size <= finest and dimension % size == 0)
        self._index = faiss().index_factory(dimension, f"IVF{self.cells},PQ{dimension // part}x4fs_{TOGETHER}", kind)
        self._index.cp.niter, self._index.cp.max_points_per_centroid = ROUNDS, TRAINED_ON
        self._index.cp.min_points_per_centroid = 1
        self._index.cp.spherical = metric == "cosine"
        self._alive: list[Records] = []
        self._bad: list[Records] = []

    @property
    def sample(self) -> int:
        """How many vectors train() should get."""
        return max(self.cells * TRAINED_ON, LEAST_SAMPLE)

    def train(self, vectors: Vectors) -> None:
        """Find the cells, from vectors drawn at random."""
        prepared = _prepared(vectors, self._metric)
        self._index.train(prepared)
        self._errors = CodeErrors.measured(left_out(self._index, prepared))
        self._codes = Codes.fitted(prepared, self._count + self._count // 20)
        self._questions = Questions(prepared, self._metric, QUESTIONS if self.cells > 1 else FEW_QUESTIONS)

    def add(self, rows: Records, vectors: Vectors) -> None:
        """Take vectors in."""
        prepared = _prepared(vectors, self._metric)
        self._index.add_with_ids(prepared, rows)
        self._codes.put(rows, prepared)
        self._bad.append(rows[badly_coded(self._index, self._errors, prepared)])
        self._alive.append(rows.copy())
        self._questions.see(rows, prepared)

    def finish(self, version: int) -> InvertedFile | None:
        """The inverted file, calibrated; None if the codes are too coarse for these vectors."""
        nearest, asked = self._questions.nearest(), _prepared(self._questions.vectors, self._metric)
        depths = [depth for depth in DEPTHS if depth <= nearest.shape[1]]
        if not depths:
            return None
        # One search of every cell tells all: a smaller number of cells finds what is in them, and the rest is not.
        parameters = faiss().SearchParametersIVF(nprobe=self.cells)
        _, best = self._index.search(asked, looked_at(depths[-1]), params=parameters)
        _, order = self._index.quantizer.search(asked, self.cells)
        places = np.take_along_axis(np.argsort(order, axis=1), self._cells_of(nearest), axis=1)
        measured: list[Cells] = []
        for depth in depths:
            found = np.array(
                [
                    np.isin(rows, some)
                    for rows, some in zip(nearest[:, :depth], best[:, : looked_at(depth)], strict=True)
                ]
            )
            enough = nprobe.enough(found, places[:, :depth], REACHED[depth])
            measured.append(Cells(depth, min(enough, self.cells)))
        alive = np.unique(np.concatenate(self._alive))
        bad = np.concatenate(self._bad)
        file = InvertedFile(self._index, self._codes, self._metric, version, tuple(measured), alive, self._errors, bad)
        wanted = depths[0]
        lost = sum(file.candidates(one, wanted) is None for one in asked[:FEW_QUESTIONS])
        return None if lost > MOSTLY * len(asked[:FEW_QUESTIONS]) else file.fresh()

    def _cells_of(self, rows: Records) -> Records:
        """The cell that each row is in."""
        lists = self._index.invlists
        cell_of = np.zeros(max(int(some.max()) for some in self._alive) + 1, np.int64)
        for cell in range(self.cells):
            if count := lists.list_size(cell):
                cell_of[faiss().rev_swig_ptr(lists.get_ids(cell), count)] = cell
        return cell_of[rows]


def left_out(index: Any, prepared: Vectors) -> Vectors:
    """Vectors minus what their short codes stand for, float32 [n, dimension]."""
    found = np.empty_like(prepared)
    for start in range(0, len(prepared), MEASURED):
        part = prepared[start : start + MEASURED]
        found[start : start + MEASURED] = part - index.pq.decode(index.pq.compute_codes(part))
    return found


def badly_coded(index: Any, errors: CodeErrors, prepared: Vectors) -> NDArray[np.bool_]:
    """Which vectors the short codes represent badly, bool [n]."""
    parts = [prepared[start : start + MEASURED] for start in range(0, len(prepared), MEASURED)]
    return np.concatenate([errors.badly_coded(left_out(index, part)) for part in parts] or [np.zeros(0, dtype=bool)])


def _longer(flags: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """A copy with at least so many places."""
    found = np.zeros(max(least, len(flags)), dtype=bool)
    found[: len(flags)] = flags
    return found


def use_threads(count: int) -> None:
    """How many threads Faiss computes with in calls of this thread."""
    faiss().omp_set_num_threads(count)


def give_back() -> None:
    """Give the memory that building took back to the system, which glibc does not: 80 MB after a million vectors."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _prepared(vectors: Vectors, metric: Metric) -> Vectors:
    """Contiguous float32 [n, dimension]; for cosine of unit length, or zero."""
    if metric == "cosine":
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _prepared_one(vector: Vectors, metric: Metric) -> Vectors:
    """The same of one, float32 [dimension]."""
    length = np.linalg.norm(vector) if metric == "cosine" else 0
    return np.ascontiguousarray(vector / length if length > 0 else vector, dtype=np.float32)
