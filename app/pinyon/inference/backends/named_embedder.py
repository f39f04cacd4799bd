"""Bare weights under a name: the prefixes, the limits and the dimension that the name promises."""

from collections.abc import Sequence

import numpy as np

from pinyon.domain import Fingerprint, InputType, Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.backend import Embeddings, TextEncoder


class NamedEmbedder:
    """An Embedder: an encoder with the prefixes, the limit and the dimension of the name it answers to."""

    def __init__(self, encoder: TextEncoder, fingerprint: Fingerprint, label: str, max_tokens: int) -> None:
        self.encoder, self.fingerprint, self.label, self._max_tokens = encoder, fingerprint, label, max_tokens

    def embed(self, texts: Sequence[str], input_type: InputType, truncate: Truncate) -> Embeddings:
        printed = self.fingerprint
        prefix = printed.query_prefix if input_type == "query" else printed.passage_prefix
        whole = texts
        if truncate == "START":
            room = self._limit() - self.encoder.count_tokens([prefix])[0]
            texts = self.encoder.ends(texts, room)
        prefixed = [prefix + text for text in texts]
        if truncate == "NONE":
            for position, tokens in enumerate(self.encoder.count_tokens(prefixed)):
                if tokens > self._max_tokens:
                    raise TextTooLong(position, tokens, self._max_tokens, printed.model)
        # Each distinct text once, so that equal texts have equal vectors.
        place = {text: place for place, text in enumerate(dict.fromkeys(prefixed))}
        found = self.encoder.encode(list(place), self._max_tokens)
        order = [place[text] for text in prefixed]
        # Zeros at the end change neither a cosine nor a dot product.
        padding = printed.dimension - self.encoder.dimension
        return Embeddings(
            np.pad(found.vectors[order], ((0, 0), (0, padding))),
            [found.tokens[i] for i in order],
            [found.truncated[i] or text != given for i, text, given in zip(order, texts, whole, strict=True)],
        )

    def _limit(self) -> int:
        return min(self._max_tokens, self.encoder.max_tokens)
