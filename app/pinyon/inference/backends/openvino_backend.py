"""A transformers model computed by OpenVINO instead of torch: the extra `pip install -e '.[openvino]'`.

Importing this module takes seconds. Everything around the model (tokenizer, batches, pooling) stays as it is.
"""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from pinyon.inference.precision import Precision
from pinyon.patches.openvino import openvino
from pinyon.patches.transformers import replace_forward

HINTS = {"openvino": "f32", "openvino-bf16": "bf16"}
"""What OpenVINO calls the precisions; sums and norms are float32 in both."""


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the warnings of attributes that only tracing looks at."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)


def use_openvino(model: Any, tokenizer: Any, precision: Precision) -> None:
    """Have a transformers model on the CPU computed by OpenVINO, with torch's number of threads, from now on."""
    # Traced with two texts of different lengths, so that the padding is in what is traced; both dimensions stay free.
    example = dict(tokenizer(["What a text looks like", "to it"], padding=True, return_tensors="pt"))
    with torch.no_grad(), warnings.catch_warnings(), quiet_transformers():
        warnings.simplefilter("ignore")  # of tracing: deprecated in torch, and what OpenVINO reads best
        outputs = model(**example)
        converted = openvino.convert_model(model, example_input=example)
    compiled = openvino.compile_model(
        converted,
        "CPU",
        {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": torch.get_num_threads()},
    )
    kind, keys, requests = type(outputs), list(outputs.keys()), threading.local()

    def forward(**features: Any) -> Any:
        if not hasattr(requests, "own"):  # a request is for one thread at a time
            requests.own = compiled.create_infer_request()
        found = requests.own.infer({name: features[name].numpy() for name in example})
        return kind(**{key: torch.from_numpy(found[place]) for place, key in enumerate(keys)})

    replace_forward(model, forward)
