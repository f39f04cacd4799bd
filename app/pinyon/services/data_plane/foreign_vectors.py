"""Vectors that callers bring into an index that embeds text: what is done where text meets them.

They are taken to be of the index's model, as when an index is moved here. Where a stand-in or other weights answer for
that model, they are of another model than the texts, and comparing the two says nothing.
"""

import logging
from typing import Any

from pinyon.errors import FailedPrecondition

log = logging.getLogger("pinyon.records")


class ForeignVectors:
    """mix: the setting of that name."""

    def __init__(self, mix: bool) -> None:
        self._mix = mix
        self._warned: set[str] = set()

    def concern(self, embedder: Any) -> bool:
        """Whether an embedder is not the index's model itself: a stand-in, or other weights under its name."""
        return bool(embedder.fingerprint.stand_in) or "own-weights=" in embedder.label

    def check(self, index: str, embedder: Any, count: int) -> int:
        """How many of them an answer must tell of, where a namespace has so many.

        Raises FailedPrecondition where a stand-in's vectors would be compared with them and that is not wanted.
        """
        if not count or not self.concern(embedder):
            return 0
        printed = embedder.fingerprint
        if printed.stand_in and not self._mix:
            raise FailedPrecondition(
                f"{count} records of this namespace have vectors that were brought, for '{printed.model}'; here "
                f"'{printed.weights}' stands in for it, whose vectors cannot be compared with them. Embed all of them "
                f"anew with `pinyon reembed {index} --model {printed.model}`, or say mix = true in [models]"
            )
        if index not in self._warned:
            self._warned.add(index)
            log.warning("index %s compares text with foreign vectors, though %s embeds the text", index, embedder.label)
        return count
