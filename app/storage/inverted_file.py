"""Approximate nearest neighbours: an inverted file (IVF) over the vectors of one namespace, by Faiss.

A query looks at codes of half a byte for one to four numbers (product quantisation, Jegou et al. 2011, laid out as
Andre et al. 2015 do), and then at codes of a byte for each number of those that look best. What is found are
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

from app.domain import Metric
from app.storage import calibration
from app.storage.arrays import Records, Vectors, distinct
from app.storage.byte_codes import Codes
from app.storage.calibration import DEPTHS, QUESTIONS, REACHED, Cells, Questions
from app.storage.shared_lock import SharedLock

Bits = NDArray[np.uint8]
"""One bit for each row number, the lowest first in each byte."""

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
LEAST_RECALL = 0.96
"""What looking into every cell must find, or the codes are too coarse for these vectors."""
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


def bits_of(rows: Records) -> Bits:
    """Sorted row numbers as bits."""
    there = np.zeros(int(rows[-1]) + 1 if len(rows) else 0, dtype=bool)
    there[rows] = True
    return np.packbits(there, bitorder="little")


class InvertedFile:
    """Row numbers by nearness. version: of the namespace whose vectors it holds. Safe for several threads."""

    def __init__(
        self, index: Any, codes: Codes, metric: Metric, version: int, measured: tuple[Cells, ...], alive: Records
    ) -> None:
        self.version, self.calibration = version, measured
        self._index, self._codes, self._metric = index, codes, metric
        self._there = np.zeros(0, dtype=bool)
        self._cells_for: dict[int, int] = {}
        self._lock = SharedLock()
        self._note(np.empty(0, np.int64), alive)

    def candidates(self, query: Vectors, count: int, share: float = 1.0, allowed: Bits | None = None) -> Records:
        """Row numbers that may be among the `count` nearest, sorted, each once; at least so many if there are.

        query: float32 [dimension]. allowed: the rows a filter keeps, which are a `share` of all.
        """
        cells = self.cells_for(count / max(share, 1e-9))
        target = _prepared_one(query, self._metric)
        with self._lock.shared():
            if allowed is None and self._alive < self._index.ntotal:
                allowed = self._bits
            if allowed is None:
                parameters = _everything(cells)
            else:
                parameters = faiss().SearchParametersIVF(nprobe=cells, sel=faiss().IDSelectorBitmap(allowed))
            _, rows = self._index.search(target[None, :], looked_at(count), params=parameters)
            found = rows[0]
            if found[-1] < 0:  # there are not so many
                found = found[found >= 0]
            if self._alive < self._index.ntotal:  # a row that was changed may be found where it was, too
                found = distinct(found)
            return np.sort(self._codes.nearest(target, found, count, self._metric))

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
        found = calibration.cells_for(self.calibration, depth, self._index.nlist)
        if len(self._cells_for) < MOST_REMEMBERED:
            self._cells_for[depth] = found
        return found

    def replace(self, changed: Records, rows: Records, vectors: Vectors, version: int) -> None:
        """Take in the vectors that changed rows have now; rows that are not in `rows` are gone."""
        prepared = _prepared(vectors, self._metric)
        for start in range(0, len(rows), ADDED_AT_ONCE):
            part = slice(start, start + ADDED_AT_ONCE)
            with self._lock.alone():
                self._index.add_with_ids(prepared[part], rows[part])
                self._codes.put(rows[part], prepared[part])
        with self._lock.alone():
            self._note(changed, rows)
            self.version = version

    def _note(self, gone: Records, rows: Records) -> None:
        top = int(max(gone.max(initial=-1), rows.max(initial=-1))) + 1
        there = np.zeros(max(top, len(self._there)), dtype=bool)
        there[: len(self._there)] = self._there
        there[gone] = False
        there[rows] = True
        self._there, self._bits, self._alive = there, np.packbits(there, bitorder="little"), int(there.sum())

    @property
    def stale(self) -> float:
        """Share of what is held that is of rows gone or changed."""
        return float(1 - self._alive / max(self._index.ntotal, 1))

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
            self._codes.save(beside(path))
            return self.version

    @classmethod
    def load(
        cls, path: Path, metric: Metric, version: int, measured: tuple[Cells, ...], alive: Records
    ) -> "InvertedFile":
        """Read one that save() wrote; alive: the rows there are. Raises RuntimeError, OSError or ValueError else."""
        return cls(faiss().read_index(str(path)), Codes.load(beside(path)), metric, version, measured, alive)


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

    @property
    def sample(self) -> int:
        """How many vectors train() should get."""
        return max(self.cells * TRAINED_ON, LEAST_SAMPLE)

    def train(self, vectors: Vectors) -> None:
        """Find the cells, from vectors drawn at random."""
        prepared = _prepared(vectors, self._metric)
        self._index.train(prepared)
        self._codes = Codes.fitted(prepared, self._count + self._count // 20)
        self._questions = Questions(prepared, self._metric, QUESTIONS if self.cells > 1 else FEW_QUESTIONS)

    def add(self, rows: Records, vectors: Vectors) -> None:
        """Take vectors in."""
        prepared = _prepared(vectors, self._metric)
        self._index.add_with_ids(prepared, rows)
        self._codes.put(rows, prepared)
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
            if not measured and found.mean() < LEAST_RECALL:
                return None
            enough = calibration.enough(found, places[:, :depth], REACHED[depth])
            measured.append(Cells(depth, min(enough, self.cells)))
        alive = np.unique(np.concatenate(self._alive))
        return InvertedFile(self._index, self._codes, self._metric, version, tuple(measured), alive)

    def _cells_of(self, rows: Records) -> Records:
        """The cell that each row is in."""
        lists = self._index.invlists
        cell_of = np.zeros(max(int(some.max()) for some in self._alive) + 1, np.int64)
        for cell in range(self.cells):
            if count := lists.list_size(cell):
                cell_of[faiss().rev_swig_ptr(lists.get_ids(cell), count)] = cell
        return cell_of[rows]


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
