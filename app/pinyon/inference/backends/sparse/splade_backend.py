"""Learned sparse vectors: a masked language model says for each text how much each word of its vocabulary matters.

The weight of a word is log(1 + relu(logit)), and of all tokens of the text the largest counts (Formal et al., SPLADE
v2, 2021). So words that a text does not have but means get weights too. Importing this module takes seconds.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM

from pinyon.domain import Fingerprint, InputType, SparseVector, Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.backend import SparseEmbeddings

BATCH_TOKENS = 512
"""Padded tokens of a batch."""
BLOCK = 2_048
"""Words of the vocabulary whose logits are computed at once. One core embeds 430 short texts in a second in this way,
and 105 if it computes all logits at once."""
FAINT = 0.1
"""Weight of each token of a text in which the model finds no word that matters."""


class SpladeModel:
    """A masked language model in a folder, with its tokenizer. reads: tokens at once, special tokens included."""

    def __init__(self, folder: Path) -> None:
        model = AutoModelForMaskedLM.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False).eval()
        self._encoder, self._transform = model.bert, model.cls.predictions.transform
        self._words, self._bias = (each.detach() for each in model.cls.predictions.decoder.parameters())
        self.reads = int(model.config.max_position_embeddings)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        (self._first, self._last) = self._tokenizer.encode("").ids

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, without special ones."""
        return [each.ids for each in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def name(self, token: int) -> str:
        """The word, or the piece of one, that a token stands for."""
        return str(self._tokenizer.id_to_token(token))

    def weights(self, tokens: Sequence[Sequence[int]]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The weights of every text, float32 [vocabulary], with its place. tokens: of each text; longest come first.

        A text that is longer than the model reads at once is read in windows, and the largest weight counts.
        """
        room = self.reads - 2
        windows = [
            (place, [self._first, *text[start : start + room], self._last])
            for place, text in enumerate(tokens)
            for start in range(0, max(1, len(text)), room)
        ]
        left = np.bincount([place for place, _ in windows], minlength=len(tokens))
        best: dict[int, NDArray[np.float32]] = {}
        windows.sort(key=lambda window: -len(window[1]))
        while windows:
            count = max(1, BATCH_TOKENS // len(windows[0][1]))
            batch, windows = windows[:count], windows[count:]
            for (place, _), row in zip(batch, self._weights([window for _, window in batch]), strict=True):
                best[place] = np.maximum(best[place], row) if place in best else row
                left[place] -= 1
                if left[place] == 0:
                    yield place, best.pop(place)

    def _weights(self, rows: list[list[int]]) -> NDArray[np.float32]:
        longest = max(map(len, rows))
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        with torch.inference_mode():
            states = self._transform(self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state)
            # Padding repeats the first token, which changes no maximum.
            states = torch.where(mask.unsqueeze(-1) > 0, states, states[:, :1])
            logits = torch.empty(len(rows), len(self._words))
            for start in range(0, len(self._words), BLOCK):
                block = self._words[start : start + BLOCK]
                logits[:, start : start + BLOCK] = (states @ block.T).amax(1)
            weights: NDArray[np.float32] = torch.log1p(torch.relu(logits + self._bias)).numpy()
        return weights


class SpladeEmbedder:
    """A SparseEmbedder; queries and passages are treated alike. max_tokens: the limit of the name.

    languages: as in SparseEmbedder.
    """

    by_rarity = False

    def __init__(
        self,
        model: SpladeModel,
        fingerprint: Fingerprint,
        label: str,
        max_tokens: int,
        languages: Collection[str] = (),
    ) -> None:
        self._model, self.fingerprint, self.label, self._max_tokens = model, fingerprint, label, max_tokens
        self.languages = languages

    def embed(
        self, texts: Sequence[str], input_type: InputType, truncate: Truncate, max_tokens: int | None = None
    ) -> SparseEmbeddings:
        limit = max_tokens or self._max_tokens
        tokens = self._model.tokenize(texts)
        counts = [len(each) for each in tokens]
        if truncate == "NONE":
            for position, count in enumerate(counts):
                if count > limit:
                    raise TextTooLong(position, count, limit, self.fingerprint.model)
        tokens = [each[:limit] for each in tokens]
        vectors: list[Any] = [None] * len(texts)
        for place, weights in self._model.weights(tokens):
            vectors[place] = _vector(weights, tokens[place])
        terms = [[self._model.name(index) for index in vector.indices.tolist()] for vector in vectors]
        return SparseEmbeddings(vectors, [min(n, limit) for n in counts], [n > limit for n in counts], terms)


def _vector(weights: NDArray[np.float32], tokens: list[int]) -> SparseVector:
    indices = np.flatnonzero(weights).astype(np.uint32)
    if len(indices):
        return SparseVector(indices, weights[indices])
    own = np.unique(np.array(tokens or [0], np.uint32))
    return SparseVector(own, np.full(len(own), FAINT, np.float32))
