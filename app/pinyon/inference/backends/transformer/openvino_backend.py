"""Computes a transformers model with OpenVINO instead of torch. Needs the extra `openvino`.

Importing this module takes seconds. Tokenizer, batches and pooling stay as they are.
"""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from pinyon.errors import FailedPrecondition
from pinyon.inference.precision import Precision
from pinyon.patches.openvino import openvino
from pinyon.patches.transformers import replace_forward

HINTS = {"openvino": "f32", "openvino-bf16": "bf16"}
"""The names of our precisions in OpenVINO. Sums and norms are float32 in both."""


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence warnings about attributes that only tracing uses."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)


def use_openvino(model: Any, tokenizer: Any, precision: Precision) -> None:
    """From now on, compute a transformers model on the CPU with OpenVINO, with as many threads as torch uses.

    Raises FailedPrecondition if OpenVINO does not compute this model: what it returns for an example is not numbers.
    """
    # Two texts of different lengths, so that the trace includes padding. Both dimensions stay free.
    example = dict(tokenizer(["What a text looks like", "to it"], padding=True, return_tensors="pt"))
    with torch.no_grad(), warnings.catch_warnings(), quiet_transformers():
        warnings.simplefilter("ignore")  # tracing is deprecated in torch, but it is what OpenVINO reads best
        outputs = model(**example)
        converted = openvino.convert_model(model, example_input=example)
    compiled = openvino.compile_model(
        converted,
        "CPU",
        {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": torch.get_num_threads()},
    )
    kind, keys, requests = type(outputs), list(outputs.keys()), threading.local()

    def forward(**features: Any) -> Any:
        if not hasattr(requests, "own"):  # a request serves one thread at a time
            requests.own = compiled.create_infer_request()
        result = requests.own.infer({name: features[name].numpy() for name in example})
        return kind(**{key: torch.from_numpy(result[output]) for output, key in enumerate(keys)})

    _check(forward(**example), example)
    replace_forward(model, forward)


def _check(outputs: Any, example: Any) -> None:
    """Raises FailedPrecondition if the first output has other values than numbers where the texts are not padded.

    OpenVINO gives NaN for causal models that are padded on the left.
    """
    values = next(iter(outputs.values()))
    if values.shape[:2] == example["attention_mask"].shape:
        values = values[example["attention_mask"].bool()]
    if not torch.isfinite(values).all():
        raise FailedPrecondition("OpenVINO does not compute this model; choose another precision for it")
