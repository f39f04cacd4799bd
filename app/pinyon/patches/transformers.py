"""A transformers model whose forward pass is computed by something else."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel

from pinyon.patches.supported import check_shape, check_version

SUPPORTED_TRANSFORMERS, SUPPORTED_TORCH = ">=5,<6", ">=2.13,<2.14"


def replace_forward(model: Any, forward: Callable[..., Any], free_parameters: bool = True) -> None:
    """Have the model call this function instead of its own forward pass, and free its parameters if it needs none.

    Raises FailedPrecondition for versions of transformers and torch that this was not tested with.
    """
    check_version("transformers", SUPPORTED_TRANSFORMERS)
    check_version("torch", SUPPORTED_TORCH)
    check_shape("transformers", isinstance(model, PreTrainedModel), f"a model of type {type(model).__name__}")
    model.forward = forward
    if free_parameters:
        for parameter in model.parameters():
            parameter.data = torch.empty(0)
