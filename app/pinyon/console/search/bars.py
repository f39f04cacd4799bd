"""The parts of a hit's score as bars. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec


class Bar(msgspec.Struct, frozen=True):
    """A part of a score. width: 0..100. beside: what else is known of it, such as its rank.

    The bar of a whole score is relative to the best hit of the column. "chance" is the chance that a hit is relevant.
    """

    label: str
    value: str
    width: int
    beside: str = ""


def of_hit(explained: Mapping[str, Any], best: float) -> list[Bar]:
    """The parts of a score. explained: the `_explain` of a hit. best: the highest score in its column."""
    bars = []
    if "similarity" in explained:
        learned = explained.get("learned_weight", 0.0)
        words = explained["lexical_weight"]
        bars += [
            _bar("meaning", explained["similarity"], 1 - words - learned, _rank("cosine", explained, "dense")),
            _bar("words", explained["share"], words, _rank("BM25", explained, "lexical")),
        ]
        if "learned" in explained:
            bars.append(_bar("learned words", explained["learned"], learned, ""))
    else:
        score = explained["score"]
        share = score / best if best > 0 and score > 0 else 0.0
        bars.append(Bar("score", f"{score:.3f}", _width(share)))
    if "rerank" in explained:
        before = f"was {explained['score']:.3f} at rank {explained['rank']}"
        bars.append(Bar("reranker", f"{explained['rerank']:.3f}", _width(explained["rerank"]), before))
    if "calibrated" in explained:
        chance = explained["calibrated"]
        bars.append(Bar("chance", f"{chance:.0%}", _width(chance)))
    return bars


def _bar(label: str, value: float, weight: float, beside: str) -> Bar:
    share = f"counts {weight:.0%}"
    return Bar(label, f"{value:.3f}", _width(value), f"{share}, {beside}" if beside else share)


def _rank(label: str, explained: Mapping[str, Any], side: str) -> str:
    if side not in explained:
        return "no word in common" if side == "lexical" else "no vector"
    place = f", rank {explained[f'{side}_rank']}" if f"{side}_rank" in explained else ""
    return f"{label} {explained[side]:.3f}{place}"


def _width(share: float) -> int:
    return round(100 * min(max(share, 0.0), 1.0))
