"""The rerankers that pages offer."""

from pinyon.services.inference.inference import Inference

BEST, ALWAYS_THERE = "bge-reranker-v2-m3", "pinyon-late-interaction"
"""What reranks if nobody chooses a model: the first one if its weights are here, otherwise the second one."""


def reranker_names(inference: Inference) -> list[str]:
    """The reranking models that answer here, the usual one first."""
    by_name = {model.name: model.answer for model in inference.known_models() if model.entry.kind == "rerank"}
    best = by_name.get(BEST)
    usual = ALWAYS_THERE if best is None or best.stand_in else BEST
    return [usual, *(name for name, answer in by_name.items() if answer is not None and name != usual)]
