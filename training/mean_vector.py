"""Makes the weights of pinyon-embed-small: the mean vector of documents by multilingual-e5-small.

    .venv/bin/python -m training.mean_vector PATH/TO/TRAINING/DATA OUT.safetensors

The documents are the first hundred words of 120 positives of each file, every third line, each text once.
"""

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
from pinyon.inference.catalog import Catalog
from pinyon.shipped import SHIPPED
from safetensors.numpy import save_file

FILES = ("nq", "medquad", "selqa", "fever", "boolq", "pubmedqa")
TEXTS, WORDS, EVERY = 120, 100, 3
WEIGHTS = (0.6, 0.4)
"""Of the cosines of multilingual-e5-small and of all-MiniLM-L6-v2."""


def documents(path: Path) -> list[str]:
    """The beginnings of the first distinct positives of a file."""
    texts: dict[str, None] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number % EVERY == 0 and len(texts) < TEXTS:
                texts[" ".join(json.loads(line)["positive"].split()[:WORDS])] = None
    return list(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    texts = [f"passage: {text}" for name in FILES for text in documents(options.data / f"{name}.jsonl.gz")]
    encoder = Catalog(SHIPPED / "models").bare("multilingual-e5-small", "fp32")
    mean = encoder.encode(texts, 512).vectors.mean(axis=0)
    save_file({"mean": mean, "weights": np.array(WEIGHTS, np.float32)}, options.out)


if __name__ == "__main__":
    main()
