"""Computes a transformers model from its recorded operations instead of from Python.

Torch records ("traces") the operations of one forward pass. Computing them takes no Python between two operations: a
short text takes a quarter less processor time, and the event loop can work meanwhile. The numbers are the same.
"""

import logging
import warnings
from typing import Any

import torch

from pinyon.errors import FailedPrecondition
from pinyon.patches.transformers import replace_forward

KINDS = ("bert", "xlm-roberta")
"""Architectures (`model_type`) whose operations do not depend on the numbers that they compute."""
TOLERANCE = 1e-5
"""Largest difference between a recorded and an ordinary number: this, and this part of the number."""

log = logging.getLogger("pinyon.models")


def use_trace(model: Any, tokenizer: Any) -> bool:
    """From now on, compute a transformers model on the CPU from its recorded operations. Returns whether it does.

    It does not for other architectures, on another device, with versions of libraries that this was not tested with,
    or if the recorded operations compute other numbers for texts of other lengths.
    """
    config = getattr(model, "config", None)
    if getattr(config, "model_type", None) not in KINDS or model.device.type != "cpu":
        return False
    # Two texts of different lengths, so that padding is recorded too. Both dimensions stay free.
    example = _batch(model, tokenizer, ["What a text looks like", "to it"])
    names = list(example)
    plain_forward, is_training = model.forward, model.training
    model.eval()
    with torch.no_grad(), warnings.catch_warnings():
        # About branches and attributes that do not matter in these architectures, and about the age of torch.jit.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.modeling_utils")
        outputs = plain_forward(**example)
        kind, keys = type(outputs), list(outputs.keys())

        def positional(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            output = plain_forward(**dict(zip(names, inputs, strict=True)))
            return tuple(output[key] for key in keys)

        # A function instead of a module: torch.jit would take a third of a second to describe each part of a module.
        # The weights are then constants, which must not have gradients.
        model.requires_grad_(False)
        recorded = torch.jit.trace(positional, tuple(example.values()), check_trace=False)

        def forward(**features: Any) -> Any:
            values = recorded(*(features[name] for name in names))
            return kind(**dict(zip(keys, values, strict=True)))

        for texts in (["one"], ["some longer text, " * 20], ["a", "a text of other words " * 9, "and a third one"]):
            batch = _batch(model, tokenizer, texts)
            wanted, found = plain_forward(**batch), forward(**batch)
            if any(not torch.allclose(found[key], wanted[key], atol=TOLERANCE, rtol=TOLERANCE) for key in keys):
                model.train(is_training)
                log.warning("recorded operations compute other numbers; the model is computed without them")
                return False
    try:
        replace_forward(model, forward, free_parameters=False)
    except FailedPrecondition as error:  # of other versions of the libraries
        log.info("the model is computed without recorded operations: %s", error)
        return False
    return True


def _batch(model: Any, tokenizer: Any, texts: list[str]) -> dict[str, torch.Tensor]:
    most = model.config.max_position_embeddings - 2  # XLM-RoBERTa counts positions from 2
    return dict(tokenizer(texts, padding=True, truncation=True, max_length=most, return_tensors="pt"))
