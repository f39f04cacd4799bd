"""Trains pinyon-rerank-mini, a cross-encoder that complements hybrid retrieval.

    .venv/bin/python -m training.train LISTS.jsonl OUT_FOLDER [--threads 1]

It starts from all-MiniLM-L6-v2, whose word and position embeddings stay fixed, so that they need not be shipped. The
loss is the softmax cross-entropy over each list of (a x cosine + b x share + the cross-encoder's score); a and b are
learned too. The loss judges the fused score, so the cross-encoder learns what the other two miss. A smaller part of the
loss judges the cross-encoder alone, so that it is also useful by itself. Training continues from its last checkpoint.
"""

import argparse
import json
import math
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from training.prepare import CONFIG, EMBEDDER

FIXED = ("bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight")
"""Parameters of all-MiniLM-L6-v2 that stay fixed."""
List = dict[str, Any]


class Fused(torch.nn.Module):
    """The cross-encoder, and the weights of the scores that it is fused with."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = AutoModelForSequenceClassification.from_pretrained(EMBEDDER, num_labels=1)
        torch.nn.init.normal_(self.encoder.classifier.weight, std=0.02)
        for name, parameter in self.encoder.named_parameters():
            parameter.requires_grad = name not in FIXED
        self.mix = torch.nn.Parameter(torch.tensor([10.0, 15.0]))

    def forward(self, features: dict[str, torch.Tensor], parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fused scores and own scores, both [lists, passages]. parts: cosine and share, [lists, passages, 2]."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            own = self.encoder(**features).logits
        own = own.float().view(parts.shape[:2])
        return parts @ self.mix + own, own


def batches(lists: list[List], many: int, at_once: int, dice: random.Random) -> Iterator[list[list[List]]]:
    """Without end: batches of lists, each in parts of about equal length, so that padding is little."""
    while True:
        order = dice.sample(lists, len(lists))
        for start in range(0, len(order) - many + 1, many):
            batch = sorted(order[start : start + many], key=lambda one: max(map(len, one["passages"])))
            yield [batch[at : at + at_once] for at in range(0, many, at_once)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    config = tomllib.loads(CONFIG.read_text())
    how = config["training"]
    torch.set_num_threads(options.threads)
    torch.manual_seed(config["seed"])
    lists = [json.loads(line) for line in options.lists.read_text(encoding="utf-8").split("\n") if line]
    tokenizer, model = AutoTokenizer.from_pretrained(EMBEDDER), Fused()
    trained = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": trained, "lr": how["learning_rate"], "weight_decay": how["weight_decay"]},
            {"params": [model.mix], "lr": 0.05, "weight_decay": 0.0},
        ]
    )

    def rate(step: int) -> float:
        return min((step + 1) / how["warmup"], 0.5 * (1 + math.cos(math.pi * min(1.0, step / how["steps"]))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint, done = options.out / "checkpoint.pt", 0
    if checkpoint.exists():
        held = torch.load(checkpoint)
        done = held["step"]
        model.load_state_dict(held["model"])
        optimizer.load_state_dict(held["optimizer"])
        schedule.load_state_dict(held["schedule"])
    stream = batches(lists, how["queries_per_batch"], how["queries_at_once"], random.Random(config["seed"]))
    model.train()
    lately: list[tuple[float, float]] = []
    for step in tqdm(range(how["steps"]), unit="step"):
        batch = next(stream)
        if step < done:
            continue
        for part in batch:
            pairs = [(one["query"], passage) for one in part for passage in one["passages"]]
            features = encoded(tokenizer, pairs, how)
            parts = torch.tensor([[*zip(one["cosines"], one["shares"], strict=True)] for one in part])
            fused, own = model(features, parts)
            first = torch.zeros(len(part), dtype=torch.long)
            losses = (torch.nn.functional.cross_entropy(scores, first) for scores in (fused, own))
            of_fused, of_own = losses
            lately.append((of_fused.item(), of_own.item()))
            ((of_fused + how["alone"] * of_own) * len(part) / how["queries_per_batch"]).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if (step + 1) % how["checkpoint_every"] == 0 or step + 1 == how["steps"]:
            means = [sum(column) / len(column) for column in zip(*lately, strict=True)]
            mix = [round(value, 2) for value in model.mix.tolist()]
            tqdm.write(f"step {step + 1}: loss fused {means[0]:.4f}, alone {means[1]:.4f}; mix {mix}")
            lately.clear()
            held = {"step": step + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**held, "schedule": schedule.state_dict()}, checkpoint)
            export(model, options.out / "model.safetensors")


def encoded(tokenizer: Any, pairs: list[tuple[str, str]], how: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Pairs cut as when they are reranked: the query to its share, the passage to what is left."""
    queries = [tokenizer.decode(ids, skip_special_tokens=True) for ids in cut(tokenizer, pairs, how["query_tokens"])]
    passages = [passage for _, passage in pairs]
    found = tokenizer(
        queries, passages, truncation="only_second", max_length=how["tokens"], padding=True, return_tensors="pt"
    )
    return dict(found)


def cut(tokenizer: Any, pairs: list[tuple[str, str]], most: int) -> list[list[int]]:
    """The first tokens of each query."""
    ids: list[list[int]] = tokenizer([query for query, _ in pairs], truncation=True, max_length=most)["input_ids"]
    return ids


def export(model: Fused, path: Path) -> None:
    """What is trained, in half precision; beside it the learned weights of cosine and share."""
    state = {
        name: tensor.half().contiguous() for name, tensor in model.encoder.state_dict().items() if name not in FIXED
    }
    mix = {"cosine": f"{model.mix[0].item():.4f}", "share": f"{model.mix[1].item():.4f}"}
    save_file(state, str(path), metadata={"format": "pt", **mix})


if __name__ == "__main__":
    main()
