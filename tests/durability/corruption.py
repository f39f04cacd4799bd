"""Data folders with every kind of file in them, and ways to damage one file of them."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pinyon.auth import keys
from pinyon.domain import EmbedSpec, IndexSpec, PagePlan, QueryPlan, Record, Selection, SparseVector
from pinyon.errors import DataLoss, FailedPrecondition
from pinyon.filters import parse
from pinyon.search import token_codes
from pinyon.storage.sqlite.engine import SqliteEngine

DIMENSION, LARGE = 8, 600
FROM = 400
"""Records from which on a namespace gets an inverted file here."""
WORDS = ["apple", "river", "stone", "cloud", "lamp", "garden", "wheel", "paper"]
Damage = Callable[[Path, random.Random, Path], None]
"""What happens to a file; the last argument is an older version of it, if there is one."""


async def opened(folder: Path) -> SqliteEngine:
    return await SqliteEngine.open_folder(folder, 1, 2**26, approximate_from=FROM, cache_bytes=2**22)


def records(index: str, first: int, count: int) -> list[Record]:
    random = np.random.default_rng(first)
    vectors = random.standard_normal((count, DIMENSION)).astype(np.float32)
    found = []
    for place, vector in enumerate(vectors, start=first):
        text = " ".join(WORDS[(place * step) % len(WORDS)] for step in (1, 3, 5)) + f" number {place}"
        sparse = SparseVector(np.array([place % 50, 100 + place % 7], np.uint32), np.array([1.0, 0.5], np.float32))
        of_kind = (None, sparse) if index.startswith("sparse") else (vector, None)
        fields = {"text": text, "n": place % 10, "tag": f"t{place % 3}"}
        more: dict[str, Any] = {}
        if index.startswith("docs"):
            more = {"learned": sparse, "token_codes": token_codes.encode([np.stack([vector, -vector])])}
        found.append(Record(f"r{place:04}", of_kind[0], fields, of_kind[1], **more))
    return found


def specs(name: str) -> IndexSpec:
    """What the index of a name is: docs* embed text, sparse* are sparse, the others hold vectors."""
    if name.startswith("sparse"):
        return IndexSpec(name, 0, "dotproduct")
    if name.startswith("docs"):
        return IndexSpec(name, DIMENSION, "cosine", EmbedSpec("pinyon-hash-embed", "text", token_vectors="stored"))
    return IndexSpec(name, DIMENSION, "euclidean")


async def make(folder: Path, names: list[str]) -> tuple[Path, Path, Path]:
    """Three copies of one folder: cleanly closed, as a kill leaves it, and an older version of the first."""
    closed, killed, older = folder / "closed", folder / "killed", folder / "older"
    engine = await opened(closed)
    for name in names:
        await engine.create_index(specs(name))
        await engine.upsert(name, "a", records(name, 0, LARGE if name.startswith("large") else 60))
    keys.create(closed, "somebody")
    await engine.upkeep_done()
    await engine.close()
    shutil.copytree(closed, older)
    engine = await opened(closed)
    for name in names:
        await engine.upsert(name, "a", records(name, 50, 30))
        await engine.upsert(name, "b", records(name, 0, 5))
        await engine.delete(name, "a", Selection(ids=["r0001", "r0002"]))
    await engine.upkeep_done()
    shutil.copytree(closed, killed)
    await engine.close()
    return closed, killed, older


Answers = dict[str, object]


async def answers(engine: SqliteEngine, name: str) -> Answers | None:
    """What an index answers to all kinds of questions; None if it says that it is damaged."""
    try:
        spec = engine.index(name).spec
        vector = np.linspace(-1, 1, DIMENSION, dtype=np.float32)
        sparse = SparseVector(np.array([3, 103], np.uint32), np.array([1.0, 1.0], np.float32))
        asked = [
            QueryPlan(7, sparse=sparse) if spec.sparse else QueryPlan(7, vector=vector, include_values=True),
            QueryPlan(20, id="r0007", filter=parse({"n": {"$gt": 4}, "tag": "t1"})),
            *([QueryPlan(9, text="river stone 7", include_token_codes=True)] if spec.embed else []),
            *([QueryPlan(9, vector=vector, text="river stone 7", learned=sparse)] if spec.embed else []),
        ]
        found: Answers = {}
        for number, plan in enumerate(asked):
            answer = await engine.query(name, "a", plan)
            if not answer.approximate:  # which would be right, and not the same
                found[f"query {number}"] = [(m.id, m.score, str(m.metadata), m.token_codes) for m in answer.matches]
        page = await engine.page(name, "a", PagePlan(10_000))
        found["page"] = [
            (r.id, None if r.vector is None else r.vector.tobytes(), str(r.metadata), str(r.sparse))
            for r in page.records
        ]
        found["namespaces"] = str(await engine.every_namespace(name))
        found["count"] = await engine.count(name, "b", Selection(filter=parse({"tag": "t0"})))
        return found
    except (DataLoss, FailedPrecondition):
        return None


def flip(file: Path, dice: random.Random, _: Path) -> None:
    """One bit, anywhere."""
    content = bytearray(file.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)


def scribble(file: Path, dice: random.Random, _: Path) -> None:
    """Some bytes in a row."""
    content = bytearray(file.read_bytes())
    start = dice.randrange(len(content))
    some = dice.randbytes(dice.randrange(1, 600))
    content[start : start + len(some)] = some[: len(content) - start]
    file.write_bytes(content)


def truncate(file: Path, dice: random.Random, _: Path) -> None:
    """The end is gone."""
    with file.open("r+b") as stream:
        stream.truncate(dice.randrange(file.stat().st_size))


def zero(file: Path, dice: random.Random, _: Path) -> None:
    """A block of the disk, or all of it, reads as zeros."""
    size = file.stat().st_size
    start = dice.choice([0, dice.randrange(size) // 512 * 512])
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(bytes(min(dice.choice([512, 4_096, 65_536]), size - start)))


def empty(file: Path, dice: random.Random, _: Path) -> None:
    """Nothing is left in it."""
    file.write_bytes(b"")


def remove(file: Path, dice: random.Random, _: Path) -> None:
    """It is not there."""
    file.unlink()


def older_version(file: Path, dice: random.Random, older: Path) -> None:
    """An old copy is there instead; without one, nothing happens."""
    if older.exists():
        shutil.copy(older, file)


def swap(file: Path, dice: random.Random, _: Path) -> None:
    """Another file of the same kind is there instead."""
    others = sorted(path for path in file.parent.glob(f"*{''.join(file.suffixes[-1:])}") if path != file)
    others = [path for path in others if path.stat().st_size]
    if others:
        shutil.copy(dice.choice(others), file)


DAMAGES: list[Damage] = [flip, flip, flip, scribble, truncate, zero, empty, remove, older_version, swap]


def damageable(folder: Path) -> list[Path]:
    """Every file of a data folder that has something in it."""
    return sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size and not path.name.endswith(".lock")
    )


def index_of(file: Path) -> str | None:
    """The index a file belongs to, or None for one of all."""
    return file.name.partition(".")[0] if file.parent.name == "indexes" else None


def digests(folder: Path) -> dict[bytes, str]:
    """The content of every SQLite file and log in a folder, set aside or not, and one name it has."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and (path.name.endswith(".sqlite") or path.name.endswith("-wal")) and path.stat().st_size:
            found[path.read_bytes()] = path.name
    return found
