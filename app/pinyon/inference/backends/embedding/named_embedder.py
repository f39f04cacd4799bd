"""An encoder under a model's name, with the prefixes, the limits and the dimension of that name."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from pinyon.domain import Fingerprint, InputType, Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.backend import Embeddings, SparseEmbedder, TextEncoder


class NamedEmbedder:
    """An Embedder over an encoder.

    label: as in Embedder. max_tokens: the limit of the name. normalize: whether vectors get length 1 again after they
    are cut to the dimension of the name. languages, sparse, token_languages: as in Embedder. If no
    token_languages are given, they are the languages.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        fingerprint: Fingerprint,
        label: str,
        max_tokens: int,
        normalize: bool = True,
        languages: Collection[str] = (),
        sparse: SparseEmbedder | None = None,
        token_languages: Collection[str] | None = None,
    ) -> None:
        self.encoder, self.fingerprint, self.label, self._max_tokens = encoder, fingerprint, label, max_tokens
        self._normalize, self.languages, self.sparse = normalize, languages, sparse
        self.token_languages = languages if token_languages is None else token_languages

    @property
    def max_tokens(self) -> int:
        return min(self._max_tokens, self.encoder.max_tokens)

    def count_tokens(self, texts: Sequence[str], input_type: InputType) -> list[int]:
        prefix = self._prefix(input_type)
        return self.encoder.count_tokens([prefix + text for text in texts])

    def embed(
        self, texts: Sequence[str], input_type: InputType, truncate: Truncate, window_tokens: int = 0
    ) -> Embeddings:
        fingerprint = self.fingerprint
        prefix = self._prefix(input_type)
        uncut = texts
        if truncate == "START":
            room = self.max_tokens - self.encoder.count_tokens([prefix])[0]
            texts = self.encoder.ends(texts, room)
        prefixed = [prefix + text for text in texts]
        if truncate == "NONE":
            for position, tokens in enumerate(self.encoder.count_tokens(prefixed)):
                if tokens > self._max_tokens:
                    raise TextTooLong(position, tokens, self._max_tokens, fingerprint.model)
        # Compute each distinct text once, so that equal texts have equal vectors.
        positions = {text: position for position, text in enumerate(dict.fromkeys(prefixed))}
        if window_tokens and not any(text != given for text, given in zip(texts, uncut, strict=True)):
            without = list(dict.fromkeys(texts))
            distinct = self.encoder.encode_tokens(without, prefix, self._max_tokens, window_tokens)
        else:
            distinct = self.encoder.encode(list(positions), self._max_tokens)
        order = [positions[text] for text in prefixed]
        return Embeddings(
            self._fitted(distinct.vectors[order]),
            [distinct.tokens[i] for i in order],
            [distinct.truncated[i] or text != given for i, text, given in zip(order, texts, uncut, strict=True)],
            None if distinct.windows is None else [distinct.windows[i] for i in order],
        )

    def _fitted(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors [n, own dimension] with the dimension of the name: [n, dimension]."""
        missing = self.fingerprint.dimension - self.encoder.dimension
        if missing >= 0:
            return np.pad(vectors, ((0, 0), (0, missing)))  # zeros at the end change neither cosine nor dot product
        # The model was trained so that the first numbers are enough (Kusupati et al., Matryoshka Representation
        # Learning, 2022).
        cut = vectors[:, : self.fingerprint.dimension]
        if self._normalize:
            cut = cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)
        return cut

    def _prefix(self, input_type: InputType) -> str:
        return self.fingerprint.query_prefix if input_type == "query" else self.fingerprint.passage_prefix
