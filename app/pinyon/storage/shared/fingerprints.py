"""Compares what embedded an index with what embeds for it. Pure."""

from pinyon.domain import Fingerprint
from pinyon.errors import EmbeddingMismatch


def check_embedded_by(stored: Fingerprint | None, embedded_by: Fingerprint) -> None:
    """Raises EmbeddingMismatch if the index was embedded by something else. stored: None if nothing has embedded it."""
    if stored is not None and stored != embedded_by:
        raise EmbeddingMismatch(
            f"This index was embedded by {_named(stored)} and cannot take vectors of {_named(embedded_by)} until it is "
            "re-embedded"
        )


def _named(embedded_by: Fingerprint) -> str:
    sparse = ""
    if embedded_by.sparse_model:
        sparse = f" with '{embedded_by.sparse_model}' ({embedded_by.sparse_version[:12]})"
    return f"'{embedded_by.weights}' ({embedded_by.version[:12]}) for '{embedded_by.model}'{sparse}"
