"""Weights that sentence-transformers reads and torch computes, on the CPU or on the GPU that torch finds.

Importing this module takes seconds, so model_loader.py imports it when it loads the first weights. Weights come from
folders on disk only. Code that lies beside them is never run.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

# Torch's threads spin while they wait for the next part of a computation. With OpenMP's default they occupy a core for
# milliseconds after the last part, while the rest of the request needs it. This limit is long enough between parts.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")

import msgspec
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file

from pinyon.domain import Truncate
from pinyon.errors import TextTooLong
from pinyon.inference.backend import MOST_WINDOWS, Embeddings, Span, Windows
from pinyon.inference.backends.transformer import sentence_model
from pinyon.inference.backends.transformer.sentence_model import NO_CHANGES, Changes
from pinyon.inference.backends.transformer.traced_model import use_trace
from pinyon.inference.model_files.weights import WEIGHTS_FILE
from pinyon.inference.precision import Precision
from pinyon.inference.steps import STEP_S, Pace, Steps, finished

BATCH_TOKENS = 2_048
"""Padded tokens of a batch: enough to fill two cores, few enough for their caches (8,192 took 1.2 times as long)."""
FIRST_RATE = 5_000.0
"""Tokens per second that are assumed of weights before a batch was measured."""
LEAST_BATCH_TOKENS = 64
"""Padded tokens of the smallest batch, unless a single text is smaller: less is hardly faster."""
CALL_TOKENS = 48
"""A call of a model takes as long as if it had so many tokens more."""
STEP_CHARACTERS = 50_000
"""Characters that one step tokenizes: about 30 ms."""
SLACK = 8
"""Tokens left free in a window, because a word that is cut in two may have more tokens than the whole one."""

Rows = list[dict[str, list[int]]]
"""Tokenized texts: input_ids and the other inputs of the model, by name."""

transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def use_threads(threads: int) -> None:
    """Set how many threads one call uses. 0 leaves the choice to torch, which takes every core."""
    if threads:
        torch.set_num_threads(threads)


def computed(model: Any, tokenizer: Any, precision: Precision) -> tuple[Any, Callable[[], AbstractContextManager[Any]]]:
    """The model prepared for a precision, and a function that makes the context in which to compute it."""
    if precision in ("openvino", "openvino-bf16"):
        from pinyon.inference.backends.transformer.openvino_backend import use_openvino

        model = model.to("cpu")
        use_openvino(getattr(model, "transformers_model", model), tokenizer, precision)
    if precision == "fp32":
        use_trace(getattr(model, "transformers_model", model), tokenizer)
    if precision == "bf16":
        # Autocast keeps sums, norms and the pooling in float32: cosines with fp32 of 0.9999, and not 0.997.
        return model, lambda: torch.autocast(model.device.type, dtype=torch.bfloat16)
    if precision == "int8":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its successor, torchao, is not part of this version of torch
            by_row = {torch.nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig}
            model = torch.ao.quantization.quantize_dynamic(model, by_row, inplace=True)
    return model, nullcontext


class TorchEncoder:
    """A TextEncoder over a folder that sentence-transformers can read."""

    def __init__(self, folder: Path, precision: Precision = "fp32", changes: Changes = NO_CHANGES) -> None:
        model = sentence_model.embedding_model(folder, changes)
        self._model, self._computed = computed(model, model.tokenizer, precision)
        self._tokenizer: Any = self._model.tokenizer
        self.dimension = int(self._model.get_embedding_dimension() or 0)
        self.max_tokens = changes.max_tokens or int(self._model.max_seq_length or self._tokenizer.model_max_length)
        self._pace = Pace(FIRST_RATE)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return token_counts(self._tokenizer, list(texts))

    def encode(self, texts: Sequence[str], max_tokens: int) -> Embeddings:
        batch = self._tokenizer(list(texts), truncation=True, max_length=min(max_tokens, self.max_tokens))
        rows = _rows(batch, len(texts))
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for places, output in self._forward(rows):
            vectors[places] = output["sentence_embedding"].float().cpu().numpy()
        truncated = [bool(encoding.overflowing) for encoding in batch.encodings]
        return Embeddings(vectors, [len(row["input_ids"]) for row in rows], truncated)

    def encode_tokens(self, texts: Sequence[str], prefix: str, max_tokens: int, window_tokens: int) -> Embeddings:
        prefixed = [prefix + text for text in texts]
        if max_tokens >= self.max_tokens:
            ahead = sum(start < len(prefix.rstrip()) for start, _ in self.token_spans(prefix + "x"))
            read = finished(self._read(prefixed, ahead + window_tokens))
            return msgspec.structs.replace(read, windows=[_after(ahead, windows) for windows in read.windows or []])
        embeddings = self.encode(prefixed, max_tokens)
        return msgspec.structs.replace(embeddings, windows=finished(self.token_windows(texts, window_tokens)))

    def ends(self, texts: Sequence[str], max_tokens: int) -> list[str]:
        return ends_of(texts, max_tokens, self.token_spans)

    def token_spans(self, text: str) -> list[Span]:
        spans: list[Span] = self._tokenizer(
            text, truncation=False, verbose=False, add_special_tokens=False, return_offsets_mapping=True
        )["offset_mapping"]
        return spans

    def token_windows(self, texts: Sequence[str], max_tokens: int) -> Steps[list[Windows]]:
        by_text: list[Windows] = [[]] * len(texts)
        for places in in_groups(texts):
            read = yield from self._read([texts[place] for place in places], max_tokens)
            for place, of_text in zip(places, read.windows or [], strict=True):
                by_text[place] = of_text
        return by_text

    def _read(self, texts: list[str], window_tokens: int) -> Steps[Embeddings]:
        """The vector of each text, from its first window, and the vectors of its first tokens, from all windows."""
        batch = self._tokenizer(
            texts,
            truncation=True,
            max_length=self.max_tokens,
            return_overflowing_tokens=True,
            return_special_tokens_mask=True,
        )
        owners, specials = batch.pop("overflow_to_sample_mapping"), batch.pop("special_tokens_mask")
        firsts = [owners.index(owner) for owner in range(len(texts))]
        left = [window_tokens] * len(texts)
        taken: list[tuple[int, int, int]] = []  # row, the text it belongs to, how many of its ordinary tokens to take
        for row, (owner, special) in enumerate(zip(owners, specials, strict=True)):
            wanted = min(left[owner], special.count(0))
            if wanted or row == firsts[owner]:
                taken.append((row, owner, wanted))
                left[owner] -= wanted
        rows = _rows(batch, len(owners))
        vectors = np.empty((len(texts), self.dimension), np.float32)
        windows: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(taken)
        for places, output in self._forward([rows[row] for row, _, _ in taken]):
            of_texts = output["sentence_embedding"].float().cpu().numpy()
            of_tokens = torch.nn.functional.normalize(output["token_embeddings"].float(), dim=-1).cpu().numpy()
            for place, of_text, of_token in zip(places, of_texts, of_tokens, strict=True):
                row, owner, wanted = taken[place]
                ordinary = np.flatnonzero(np.array(specials[row]) == 0)
                windows[place] = of_token[ordinary[:wanted]]
                if row == firsts[owner]:
                    vectors[owner] = of_text
            yield
        by_text: list[Windows] = [[] for _ in texts]
        for (_, owner, wanted), window in zip(taken, windows, strict=True):
            if wanted:
                by_text[owner].append(window)
        tokens = [len(rows[row]["input_ids"]) for row in firsts]
        return Embeddings(vectors, tokens, [owners.count(owner) > 1 for owner in range(len(texts))], by_text)

    def _forward(self, rows: Rows) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
        """The output of each batch with the positions of its rows. Longest first, which needs the least padding.

        A batch takes about STEP_S.
        """
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place]["input_ids"]))
        lengths = [len(rows[place]["input_ids"]) for place in order]
        start = 0
        while start < len(order):
            end = start + batch_size(lengths[start:], batch_tokens(self._pace))
            places = order[start:end]
            begun = time.perf_counter()
            features = self._tokenizer.pad([rows[place] for place in places], return_tensors="pt")
            with torch.inference_mode(), self._computed():
                output = self._model({name: t.to(self._model.device) for name, t in features.items()})
            self._pace.took((end - start) * lengths[start], time.perf_counter() - begun)
            yield places, output
            start = end


def _after(ahead: int, windows: Windows) -> Windows:
    """The windows without the first tokens of a text, which are in its first window."""
    return [window for window in (windows[0][ahead:], *windows[1:]) if len(window)] if windows else []


def batch_tokens(pace: Pace) -> int:
    """How many padded tokens the next batch has, so that it takes about a step."""
    return min(max(pace.within(STEP_S), LEAST_BATCH_TOKENS), BATCH_TOKENS)


def batch_size(lengths: Sequence[int], tokens: int) -> int:
    """How many of the first texts make a batch of so many padded tokens, at least 1.

    lengths: tokens of each text, longest first. A batch ends earlier where padding the next texts would take longer
    than another call.
    """
    longest, most = lengths[0], max(1, tokens // lengths[0])
    for size in range(1, min(most, len(lengths))):
        padding = (longest - lengths[size]) * (min(most, len(lengths)) - size)
        if padding > CALL_TOKENS:
            return size
    return min(most, len(lengths))


def in_groups(texts: Sequence[str]) -> Iterator[list[int]]:
    """The positions of all texts, longest first, in groups of about STEP_CHARACTERS."""
    group: list[int] = []
    characters = 0
    for place in sorted(range(len(texts)), key=lambda place: -len(texts[place])):
        group.append(place)
        characters += len(texts[place])
        if characters >= STEP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def in_batches(
    texts: Sequence[str],
    count: Callable[[list[str]], list[int]],
    limit: int,
    pace: Pace,
    compute: Callable[[list[int]], None],
) -> Steps[None]:
    """Compute texts in batches that take about a step each. Texts of similar length share one, which pads the least.

    count: the number of tokens of some texts; at most `limit` of a text are computed. compute: computes the texts at
    these positions. pace: learns how long it took.
    """
    for group in in_groups(texts):
        counts = count([texts[place] for place in group])
        lengths = dict(zip(group, (min(tokens, limit) for tokens in counts), strict=True))
        order = sorted(group, key=lambda place: -lengths[place])
        while order:
            size = batch_size([lengths[place] for place in order], batch_tokens(pace))
            places, order = order[:size], order[size:]
            begun = time.perf_counter()
            compute(places)
            pace.took(size * lengths[places[0]], time.perf_counter() - begun)
            yield


def ends_of(texts: Sequence[str], max_tokens: int, spans_of: Callable[[str], list[Span]]) -> list[str]:
    """The last max_tokens tokens of each text. spans_of: the position of each token of a text."""
    return [text if len(spans := spans_of(text)) <= max_tokens else text[spans[-max_tokens][0] :] for text in texts]


class PairModel(Protocol):
    """What scores a query with documents. The methods are those of CrossEncoderModel."""

    def pair_tokens(self, query: str, documents: Sequence[str]) -> list[int]: ...

    def predict(self, query: str, documents: Sequence[str], max_tokens: int) -> Steps[NDArray[np.float32]]: ...

    def windows(self, query: str, document: str, max_tokens: int, most: int) -> list[str]: ...


class CrossEncoderModel:
    """A cross-encoder over a folder that sentence-transformers can read: one score per pair, as the model scales it."""

    prompt = ""
    """Put before each query."""

    def __init__(self, folder: Path, precision: Precision = "fp32", changes: Changes = NO_CHANGES) -> None:
        model = sentence_model.cross_encoder(folder, changes)
        self._model, self._computed = computed(model, model.tokenizer, precision)
        self._tokenizer: Any = self._model.tokenizer
        self.prompt = model.prompts.get(model.default_prompt_name or "") or ""
        self.own_limit = changes.max_tokens or int(self._model.max_seq_length or self._tokenizer.model_max_length)
        self._pace = Pace(FIRST_RATE)

    def pair_tokens(self, query: str, documents: Sequence[str]) -> list[int]:
        """Number of tokens of each pair before any cut, the prompt and special tokens included."""
        return token_counts(self._tokenizer, [self.prompt + query] * len(documents), list(documents))

    def predict(self, query: str, documents: Sequence[str], max_tokens: int) -> Steps[NDArray[np.float32]]:
        """Scores float32 [n]. Pairs are cut to max_tokens, or to what the model reads at once."""
        limit = min(max_tokens, self.own_limit)
        scores = np.empty(len(documents), np.float32)

        def compute(places: list[int]) -> None:
            with self._computed():
                predicted = self._predict([(query, documents[place]) for place in places], limit)
            scores[places] = predicted.float().cpu().numpy()

        yield from in_batches(documents, lambda some: self.pair_tokens(query, some), limit, self._pace, compute)
        return scores

    def _predict(self, pairs: Any, limit: int) -> torch.Tensor:
        scores: torch.Tensor = self._model.predict(
            pairs,
            batch_size=len(pairs),
            show_progress_bar=False,
            convert_to_tensor=True,
            processing_kwargs={"text": {"max_length": limit, "truncation": True}},
        )
        return scores

    def windows(self, query: str, document: str, max_tokens: int, most: int) -> list[str]:
        """The document in windows that fit into a pair with the query: the first ones, at most `most`."""
        limit = min(max_tokens, self.own_limit)
        room = limit - self.pair_tokens(query, [""])[0]
        if room < limit // 4:  # a query this long is cut in the pair as well
            return [document]
        return windows_of(self._tokenizer, document, room, most)


class CompletedCrossEncoder(CrossEncoderModel):
    """A cross-encoder that is shipped without the parameters and the tokenizer that it shares with a base model."""

    own_limit = 256
    """Tokens. It has positions for 512, but was trained on shorter pairs."""

    def __init__(self, folder: Path, base: Path, precision: Precision = "fp32") -> None:
        config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True)
        base_parameters = load_file(base / WEIGHTS_FILE)
        shared = {f"{config.model_type}.{name}": value for name, value in base_parameters.items()}
        own = {name: value.float() for name, value in load_file(folder / WEIGHTS_FILE).items()}
        model = transformers.AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
        wanted = model.state_dict().keys()
        model.load_state_dict({name: value for name, value in {**shared, **own}.items() if name in wanted})
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(str(base), local_files_only=True)
        self._model, self._computed = computed(model.eval(), self._tokenizer, precision)
        self._pace = Pace(FIRST_RATE)

    def _predict(self, pairs: Any, limit: int) -> torch.Tensor:
        batch = self._tokenizer(pairs, truncation="longest_first", max_length=limit, padding=True, return_tensors="pt")
        with torch.inference_mode():
            return torch.sigmoid(self._model(**batch).logits[:, 0].float())


class CrossEncoderReranker:
    """A Reranker over a model that scores pairs, with the token limit of a model's name.

    With truncate END, a longer document is read in windows, and its best window counts.
    """

    def __init__(self, model: PairModel, name: str, max_tokens: int) -> None:
        self._model, self._name, self._max_tokens = model, name, max_tokens

    def score(self, query: str, documents: Sequence[str], truncate: Truncate) -> Steps[NDArray[np.float32]]:
        if truncate == "NONE":
            for position, tokens in enumerate(self._model.pair_tokens(query, documents)):
                if tokens > self._max_tokens:
                    raise TextTooLong(position, tokens, self._max_tokens, self._name)
            scores = yield from self._model.predict(query, documents, self._max_tokens)
            return scores
        parts = []
        for text in documents:
            parts.append(self._model.windows(query, text, self._max_tokens, MOST_WINDOWS))
            yield
        parts_of_all = [part for windows in parts for part in windows]
        scores = yield from self._model.predict(query, parts_of_all, self._max_tokens)
        firsts = np.cumsum([0, *(len(windows) for windows in parts[:-1])])
        return np.maximum.reduceat(scores, firsts)


def windows_of(tokenizer: Callable[..., Any], document: str, room: int, most: int) -> list[str]:
    """A document in windows of at most `room` tokens, special tokens aside: the first ones, at most `most`."""
    spans = tokenizer(document, truncation=False, verbose=False, add_special_tokens=False, return_offsets_mapping=True)[
        "offset_mapping"
    ]
    if len(spans) <= room:
        return [document]
    room = max(1, room - SLACK)
    starts = range(0, min(len(spans), room * most), room)
    return [document[spans[at][0] : spans[min(at + room, len(spans)) - 1][1]] for at in starts]


def token_counts(tokenizer: Callable[..., Any], *columns: list[str]) -> list[int]:
    """Number of tokens of each text, or of each pair of texts, before any cut, special tokens included."""
    batch = tokenizer(*columns, truncation=False, verbose=False, return_attention_mask=False)
    return [len(ids) for ids in batch["input_ids"]]


def _rows(batch: Any, count: int) -> Rows:
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch]
    return [{name: batch[name][place] for name in names} for place in range(count)]
