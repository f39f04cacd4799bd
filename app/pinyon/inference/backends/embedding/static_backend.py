"""Static embeddings: the vector of a text is the mean of the vectors of its tokens, without a transformer.

They are much faster than a transformer. They know words, but not their order.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from pinyon.errors import FailedPrecondition
from pinyon.inference.backend import Embeddings, Span, Windows
from pinyon.inference.backends.transformer.sentence_model import Changes, embedding_model
from pinyon.inference.backends.transformer.torch_backend import ends_of
from pinyon.inference.precision import Precision
from pinyon.inference.steps import Steps, finished


class StaticEncoder:
    """A TextEncoder over a folder with a StaticEmbedding. Raises FailedPrecondition for any precision but fp32."""

    def __init__(self, folder: Path, precision: Precision, changes: Changes) -> None:
        if precision != "fp32":
            raise FailedPrecondition(f"The static embeddings in {folder} are computed in fp32 only, not in {precision}")
        self._model = embedding_model(folder, changes)
        first: Any = self._model[0]
        self._tokenizer, self._weights = first.tokenizer, first.embedding.weight
        self._tokenizer.no_truncation()
        self.dimension = int(self._model.get_embedding_dimension() or 0)
        self.max_tokens = changes.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in self._encodings(texts)]

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        limit = min(max_tokens, self.max_tokens)
        ids = [encoding.ids for encoding in self._encodings(texts)]
        cut = [each[:limit] for each in ids]
        features = {
            "input_ids": torch.tensor([token for each in cut for token in each], dtype=torch.long),
            "offsets": torch.tensor(np.cumsum([0, *(len(each) for each in cut[:-1])])),
        }
        with torch.inference_mode():
            vectors = self._model({name: t.to(self._model.device) for name, t in features.items()})
        return Embeddings(
            vectors["sentence_embedding"].float().cpu().numpy(),
            [len(each) for each in cut],
            [len(each) > limit for each in ids],
        )

    def encode_tokens(self, texts: Sequence[str], prefix: str, max_tokens: int, window_tokens: int) -> Embeddings:
        embeddings = self.encode([prefix + text for text in texts], max_tokens)
        return msgspec.structs.replace(embeddings, windows=finished(self.token_windows(texts, window_tokens)))

    def ends(self, texts: Sequence[str], max_tokens: int) -> list[str]:
        return ends_of(texts, max_tokens, self.token_spans)

    def token_spans(self, text: str) -> list[Span]:
        spans: list[Span] = self._encodings([text])[0].offsets
        return spans

    def token_windows(self, texts: Sequence[str], max_tokens: int) -> Steps[list[Windows]]:
        windows: list[Windows] = []
        for encoding in self._encodings(texts):
            with torch.inference_mode():
                rows = self._weights[torch.tensor(encoding.ids[:max_tokens], dtype=torch.long)]
                vectors = torch.nn.functional.normalize(rows.float(), dim=-1).cpu().numpy()
            windows.append([vectors] if len(vectors) else [])
            yield
        return windows

    def _encodings(self, texts: Sequence[str]) -> Any:
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
