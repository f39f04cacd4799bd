"""Vectors that callers bring into an index that embeds text.

They are assumed to come from the index's model, for example when an index is moved here. If a stand-in or other weights
embed the text, the two kinds of vectors come from different models, and comparing them is meaningless.
"""

import logging
from typing import Any

from pinyon.errors import FailedPrecondition

log = logging.getLogger("pinyon.records")


class ForeignVectors:
    """Refuses, or warns of, comparisons of text with vectors of another model. mix: allow them (setting models.mix)."""

    def __init__(self, mix: bool) -> None:
        self._mix = mix
        self._warned: set[str] = set()

    def concern(self, embedder: Any) -> bool:
        """Whether the embedder is not the index's own model: a stand-in, or other weights under its name."""
        return bool(embedder.fingerprint.stand_in) or "own-weights=" in embedder.label

    def check(self, index: str, embedder: Any, count: int) -> int:
        """How many foreign vectors an answer has to report. index: its name. count: how many the namespace has.

        Raises FailedPrecondition if they would be compared with the vectors of a stand-in, unless `mix` allows it.
        """
        if not count or not self.concern(embedder):
            return 0
        fingerprint = embedder.fingerprint
        if fingerprint.stand_in and not self._mix:
            raise FailedPrecondition(
                f"{count} records of this namespace have vectors that were brought, for '{fingerprint.model}'. Here "
                f"'{fingerprint.weights}' stands in for that model, and its vectors cannot be compared with them. "
                f"Re-embed all records with `pinyon reembed {index} --model {fingerprint.model}`, or set mix = true in "
                "[models]"
            )
        if index not in self._warned:
            self._warned.add(index)
            log.warning("index %s compares text with foreign vectors, though %s embeds the text", index, embedder.label)
        return count
