"""`pinyon-bm25`: sparse vectors from counted words. It has no weights of its own.

Words are lower-cased and stemmed (English). A rare word also counts as the pieces that a word-piece vocabulary breaks
it into, so that "space" matches "spacewalk". The weight of a term in a passage is the part of BM25 that depends on the
passage alone (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009):
tf (k1 + 1) / (tf + k1 (1 - b + b n / average)). The average length is a constant, because a model sees no collection.
The rarity of a term belongs to the query. Storage adds it (ranking.idf), because it knows the collection.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import Stemmer
from tokenizers import Encoding, Tokenizer

from pinyon.domain import Fingerprint, InputType, SparseVector, Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.backend import SparseEmbeddings
from pinyon.search.ranking import bm25
from pinyon.search.text.terms import STOP_WORDS

AVERAGE_WORDS = 100
"""The average length of a passage in BM25."""
PIECE = 0.5
"""Weight of a piece of a word; the word itself has 1."""
SHORTEST_PIECE = 3
"""Characters of the shortest piece that counts."""
UNKNOWN = "[UNK]"
Weights = dict[str, float]
"""How often each term occurs. Pieces count as PIECE."""


class Terms:
    """Breaks texts into terms, on one thread at a time. version: a hash of the tokenizer's file, which decides them."""

    def __init__(self, tokenizer: Path) -> None:
        self.version = hashlib.sha256(tokenizer.read_bytes()).hexdigest()[:16]
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._stemmer = Stemmer.Stemmer("english")

    def tokenize(self, texts: Sequence[str]) -> list[Encoding]:
        """The word pieces of each text."""
        encodings: list[Encoding] = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return encodings

    def count(self, text: str, encoding: Encoding, limit: int) -> Weights:
        """How often each term occurs in the first `limit` pieces of the text."""
        words = list(_words(text, encoding, limit))
        counted: Weights = {}
        for pieces in words:
            whole = "".join(pieces)
            if whole in STOP_WORDS or (whole.isascii() and not whole[0].isalnum()):
                continue
            self._add(counted, whole, 1.0)
            if len(pieces) > 1:
                for piece in pieces:
                    if len(piece) >= SHORTEST_PIECE:
                        self._add(counted, piece, PIECE)
        # A text of stop words or punctuation only can still be found by these.
        return counted or {word: 1.0 for word in map("".join, words)} or {text.strip().lower(): 1.0}

    def _add(self, counted: Weights, word: str, weight: float) -> None:
        stem = self._stemmer.stemWord(word)
        counted[stem] = counted.get(stem, 0.0) + weight


class Bm25Embedder:
    """A SparseEmbedder that counts terms. max_tokens: the limit of the name."""

    by_rarity = True
    languages: Collection[str] = ()

    def __init__(self, terms: Terms, fingerprint: Fingerprint, label: str, max_tokens: int) -> None:
        self._terms, self.fingerprint, self.label, self._max_tokens = terms, fingerprint, label, max_tokens

    def embed(
        self, texts: Sequence[str], input_type: InputType, truncate: Truncate, max_tokens: int | None = None
    ) -> SparseEmbeddings:
        limit = max_tokens or self._max_tokens
        encodings = self._terms.tokenize(texts)
        counts = [len(encoding.tokens) for encoding in encodings]
        if truncate == "NONE":
            for position, tokens in enumerate(counts):
                if tokens > limit:
                    raise TextTooLong(position, tokens, limit, self.fingerprint.model)
        vectors, names = [], []
        for text, encoding in zip(texts, encodings, strict=True):
            counted = self._terms.count(text, encoding, limit)
            vector, terms = _vector(counted if input_type == "query" else _saturated(counted))
            vectors.append(vector)
            names.append(terms)
        return SparseEmbeddings(vectors, [min(n, limit) for n in counts], [n > limit for n in counts], names)


def _words(text: str, encoding: Encoding, limit: int) -> Iterator[list[str]]:
    """The words of the first tokens, each as its pieces. A word that is not in the vocabulary stays as it is."""
    word, pieces = None, list[str]()
    columns = encoding.tokens[:limit], encoding.word_ids[:limit], encoding.offsets[:limit]
    for token, of_word, (start, end) in zip(*columns, strict=True):
        if of_word != word and pieces:
            yield pieces
            pieces = []
        word = of_word
        if token == UNKNOWN:
            token = text[start:end].lower()
        pieces.append(token.removeprefix("##") if pieces else token)
    if pieces:
        yield pieces


def _saturated(counted: Weights) -> Weights:
    counts = np.array(list(counted.values()))
    weights = bm25(counts, np.full(len(counts), counts.sum()), AVERAGE_WORDS)
    return dict(zip(counted, weights.tolist(), strict=True))


def _vector(weights: Weights) -> tuple[SparseVector, list[str]]:
    """The sparse vector, with ascending indices, and the term of each index. Terms that share an index are added."""
    merged: dict[int, tuple[float, str]] = {}
    for term, weight in weights.items():
        index = term_index(term)
        total, name = merged.get(index, (0.0, term))
        merged[index] = total + weight, name
    order = sorted(merged)
    values = np.array([merged[index][0] for index in order], dtype=np.float32)
    return SparseVector(np.array(order, dtype=np.uint32), values), [merged[index][1] for index in order]


@lru_cache(maxsize=200_000)
def term_index(term: str) -> int:
    """The index of a term in every sparse vector: 32 bits of its hash."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "little")
