"""The mean vector of unrelated texts, by embedding model: the similarity that a model gives by chance."""

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import EmbedSpec, Fingerprint
from pinyon.inference.backend import Embedder
from pinyon.search.unrelated import UNRELATED
from pinyon.services.inference.embedded_text import dense_vectors
from pinyon.services.inference.inference import Inference


class UnrelatedVectors:
    """Embeds the unrelated texts once for each model, when a search first needs them."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._means: dict[tuple[Fingerprint, str], NDArray[np.float64]] = {}

    async def mean(self, embedder: Embedder, embed: EmbedSpec) -> NDArray[np.float64]:
        """The mean of the unit vectors, float64 [dimension], embedded as the records of the index are.

        Raises Unavailable if too many texts wait for the model.
        """
        key = embedder.fingerprint, embed.write_input_type
        if key not in self._means:
            texts = await self._inference.embed(embedder, UNRELATED, embed.write_input_type, "END")
            vectors = np.stack(dense_vectors(texts)).astype(np.float64)
            lengths = np.sqrt(np.vecdot(vectors, vectors))
            self._means[key] = (vectors / np.maximum(lengths, 1e-12)[:, None]).mean(axis=0)
        return self._means[key]
