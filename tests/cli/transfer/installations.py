"""Data folders and databases with everything that an index can have, and all that is stored in them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray
from pinyon.cli.transfer.installations import job
from pinyon.cli.transfer.installations.verification import content
from pinyon.domain import EmbedSpec, Fingerprint, IndexDetails, IndexSpec, PagePlan, Record, SparseVector
from pinyon.search import token_codes
from pinyon.storage.engine import Engine
from pinyon.storage.sqlite.engine import SqliteEngine

from tests.cli.transfer.commands import Pinyon
from tests.postgres.shared_server import schema_of, shared

PRINT = Fingerprint("m", "m", "1", "mean", "q", "p", 3, "s", "2")
EMBED = EmbedSpec(
    "m", "text", sparse_model="s", token_vectors="stored", language="german", calibration={"dense": ((0.0, 0.1),)}
)
SPECS = {
    "texts": IndexSpec("texts", 3, "cosine", EMBED),
    "mixed": IndexSpec("mixed", 3, "dotproduct"),
    "terms": IndexSpec("terms", 0, "dotproduct"),
}
DETAILS = IndexDetails(
    "2026-01-02T03:04:05Z", "gcp", "us-central1", True, {"team": "a"}, {"fields": {"year": {"filterable": True}}}
)
Open = Callable[[Path], Awaitable[Engine]]


async def open_folder(folder: Path) -> Engine:
    return await SqliteEngine.open_folder(folder, 1, 0)


def settings_file(folder: Path) -> Path:
    """A settings file of the database that stands for a folder."""
    file = folder.with_name(f"{folder.name}.toml")
    file.write_text(f'[storage]\nengine = "postgres"\ndsn = "{shared().dsn}"\nschema = "{schema_of(folder)}"\n')
    return file


def _float32(number: Any) -> Any:
    return st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=number, max_size=number)


VECTORS = _float32(3).map(np.float32)
SPARSE = st.dictionaries(
    st.integers(0, 2**32 - 1), st.floats(-100, 100, width=32).filter(lambda x: x != 0), min_size=1, max_size=4
).map(lambda terms: SparseVector(np.array(list(terms), np.uint32), np.array(list(terms.values()), np.float32)))
LEARNED = st.dictionaries(st.integers(0, 30_000), st.floats(0.125, 8, width=32), min_size=1, max_size=4).map(
    lambda terms: SparseVector(np.array(list(terms), np.uint32), np.array(list(terms.values()), np.float32))
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
METADATA = st.dictionaries(
    st.sampled_from(["text", "n", "\0", "~", "ü"]),
    TEXT | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.booleans()
    | st.lists(TEXT, max_size=3),
    max_size=4,
)  # fmt: skip
EXAMPLE: dict[str, dict[str, list[tuple[Record, bool]]]] = {
    "texts": {
        "": [
            (
                Record(
                    "a",
                    np.float32([1e-40, 3e38, -0.0]),
                    {"text": "Ein Wort, noch ein Wort", "n": 2**53, "\0": ["x", ""]},
                    truncated=True,
                    learned=SparseVector(np.uint32([29_999, 7]), np.float32([0.5, 2])),
                    token_codes=token_codes.encode([np.ones((2, 3), np.float32)]),
                ),
                False,
            ),
            (Record("b", np.float32([1, 2, 3]), {"text": "von Hand"}), True),
        ],
        "empty": [],
    },
    "mixed": {
        "a": [(Record(f"r{n}", np.float32([n, 1, -0.0]), {"n": n}), False) for n in range(7)],
        "ü": [(Record("x", np.float32([1, 2, 3]), {}, SparseVector(np.uint32([2**32 - 1]), np.float32([-1]))), False)],
    },
    "terms": {},
}
"""One of each."""
IDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=6)


@st.composite
def records(draw: st.DrawFn, spec: IndexSpec) -> list[tuple[Record, bool]]:
    """Records of an index, and whether a caller brings the vector though the index embeds text."""
    made = []
    for id in draw(st.lists(IDS, unique=True, max_size=5)):
        vector: NDArray[np.float32] | None = None if spec.sparse else draw(VECTORS)
        sparse = draw(SPARSE) if spec.sparse or (spec.takes_sparse and draw(st.booleans())) else None
        is_foreign = spec.embed is not None and draw(st.booleans())
        learned = codes = None
        if spec.embed is not None and not is_foreign:
            learned = draw(st.none() | LEARNED)
            codes = draw(st.none() | st.just(token_codes.encode([np.ones((2, 3), np.float32)])))
        truncated = spec.embed is not None and draw(st.booleans())
        metadata = draw(METADATA)
        if isinstance(metadata.get("text"), list):
            del metadata["text"]
        made.append((Record(id, vector, metadata, sparse, truncated, None, learned, codes), is_foreign))
    return made


@st.composite
def contents(draw: st.DrawFn) -> dict[str, dict[str, list[tuple[Record, bool]]]]:
    """Records by index and namespace."""
    names = st.sampled_from(["__default__", "", "a/b", "ü", "empty"])
    return {name: {each: draw(records(spec)) for each in draw(st.sets(names))} for name, spec in SPECS.items()}


async def fill(engine: Engine, content: dict[str, dict[str, list[tuple[Record, bool]]]]) -> None:
    """Make the indexes with these records. A namespace without records declares a field."""
    for name, namespaces in content.items():
        spec = SPECS[name]
        await engine.create_index(spec, DETAILS)
        for namespace, pairs in namespaces.items():
            if not pairs:
                await engine.create_namespace(name, namespace, {"fields": {"n": {"filterable": True}}})
            for brought in (False, True):
                some = [record for record, is_foreign in pairs if is_foreign == brought]
                if some:
                    by_model = spec.embed is not None and not brought
                    await engine.upsert(name, namespace, some, PRINT if by_model else None)


async def everything(open: Open, folder: Path) -> dict[str, Any]:
    """All that is stored in the indexes of a closed folder."""
    engine = await open(folder)
    stored: dict[str, Any] = {}
    for index in engine.indexes():
        namespaces = await engine.every_namespace(index.name)
        pages = [await engine.page(index.name, each.name, PagePlan(10_000, complete=True)) for each in namespaces]
        embedded_by = await engine.fingerprint(index.name) if any(page.records for page in pages) else None
        rows = [[content(record) for record in page.records] for page in pages]
        stored[index.name] = (index.spec, index.details, embedded_by, list(zip(namespaces, rows, strict=True)))
    await engine.close()
    return stored


def filled(folder: Path, content: dict[str, dict[str, list[tuple[Record, bool]]]] = EXAMPLE) -> Path:
    async def run() -> None:
        engine = await open_folder(folder)
        await fill(engine, content)
        await engine.close()

    asyncio.run(run())
    return folder


def interrupted(pinyon: Pinyon, monkeypatch: pytest.MonkeyPatch, source: Path, target: Path) -> None:
    """Begin a copy that ends by an error after two pages."""
    left = [2]
    store = job.InstallationCopy._store

    async def stop(*arguments: Any) -> None:
        if not left[0]:
            raise job.FailedPrecondition("the test stops it")
        left[0] -= 1
        await store(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(job.InstallationCopy, "_store", stop)
        done = pinyon("copy", "--from", source, "--to", target)
        assert (done.status, "goes on with it" in done.err) == (1, True)
