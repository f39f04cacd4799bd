"""Measurements as they are stored with their index: each is a note, one for each namespace."""

import hashlib
import logging
from collections.abc import Sequence

import msgspec

from pinyon import decoding
from pinyon.domain import Lease, Note

PREFIX = "measurement:"
"""The beginning of the keys of notes. A hash of the name of the namespace follows, because names may be long."""

log = logging.getLogger("pinyon.judgements")


class Interval(msgspec.Struct, frozen=True):
    """A mean over the queries, and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


class Quality(msgspec.Struct, frozen=True):
    """How well a pipeline ranks. ndcg: nDCG@10. recall: recall@100; None if fewer hits were reranked.

    against_dense: the difference of nDCG@10. word: better, worse or no difference, which is chance; empty for dense
    itself. computed_by: labels of models.
    """

    pipeline: str
    ndcg: Interval
    recall: float | None
    against_dense: Interval | None
    word: str
    computed_by: list[str]


class Measurement(msgspec.Struct, frozen=True):
    """A measurement of a namespace. done, total: searches. begun: RFC 3339. failed: why it stopped.

    qualities: empty until the end.
    """

    namespace: str
    begun: str
    queries: int
    done: int
    total: int
    running: bool = True
    failed: str | None = None
    qualities: list[Quality] = []

    def note(self, lease: Lease | None) -> Note:
        """The measurement as a note."""
        return Note(key_of(self.namespace), msgspec.json.encode(self).decode(), lease)


def key_of(namespace: str) -> str:
    """The key of the note of a namespace."""
    return PREFIX + hashlib.sha256(namespace.encode()).hexdigest()[:32]


def of_namespace(notes: Sequence[Note], namespace: str) -> Measurement | None:
    """The last measurement of a namespace among the notes of its index."""
    key = key_of(namespace)
    return next((_decoded(note) for note in notes if note.key == key), None)


def ended(notes: Sequence[Note]) -> list[Note]:
    """The notes of measurements that have ended."""
    measured = [(note, _decoded(note)) for note in notes if note.key.startswith(PREFIX)]
    return [Note(note.key, note.text) for note, each in measured if each is not None and not each.running]


def _decoded(note: Note) -> Measurement | None:
    try:
        return decoding.decode(note.text or "", Measurement)
    except msgspec.MsgspecError as error:
        log.error("a measurement cannot be read, so it is not shown: %s", error)
        return None
