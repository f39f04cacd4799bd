"""Packages of compiled code: one that the processor cannot run costs speed, and never the process."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pinyon import native_packages
from pinyon.domain import IndexSpec, QueryPlan, Record
from pinyon.native_packages import PACKAGES, Package
from pinyon.storage.sqlite.engine import SqliteEngine

ILLEGAL_INSTRUCTION = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
VECTORS = np.random.default_rng(0).standard_normal((2_500, 64)).astype(np.float32)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing is remembered, neither in this process nor in a file."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: folder)
    native_packages.usable.cache_clear()
    yield folder
    native_packages.usable.cache_clear()


def replace(monkeypatch: pytest.MonkeyPatch, name: str, **changes: str) -> None:
    package: Package = msgspec.structs.replace(PACKAGES[name], **changes)
    monkeypatch.setitem(PACKAGES, name, package)


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_installed_runs_here(name: str) -> None:
    assert native_packages.state(name) == "usable"


def test_a_package_that_ends_the_process_is_not_used_and_is_tried_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace(monkeypatch, "numkong", code=ILLEGAL_INSTRUCTION)
    for _ in range(2):
        assert not native_packages.usable("numkong")
    assert caplog.text.count("numkong does not run on this processor") == 1
    replace(monkeypatch, "numkong", code="")  # would run
    native_packages.usable.cache_clear()
    assert not native_packages.usable("numkong")


@pytest.mark.parametrize(
    "code", ["raise SystemExit(1)", "import os, signal; os.kill(os.getpid(), signal.SIGINT); signal.pause()"]
)
def test_a_child_that_did_not_crash_is_tried_again(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    replace(monkeypatch, "faiss", code=code)
    assert native_packages.state("faiss") == "fails"
    replace(monkeypatch, "faiss", code="")
    assert native_packages.state("faiss") == "usable"


def test_modules_of_the_working_directory_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert native_packages.state("faiss") == "usable"


def test_a_remembered_answer_is_for_one_version_and_one_processor(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(monkeypatch, "faiss", code=ILLEGAL_INSTRUCTION)
    assert native_packages.state("faiss") == "fails"
    replace(monkeypatch, "faiss", code="")
    assert native_packages.state("faiss") == "fails"
    monkeypatch.setattr(native_packages, "_processor", lambda: "another")
    assert native_packages.state("faiss") == "usable"
    (cache_folder / native_packages.REMEMBERED).write_text("no JSON")
    monkeypatch.undo()


def test_a_damaged_or_unwritable_cache_is_not_an_error(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(monkeypatch, "faiss", code="")
    cache_folder.mkdir()
    (cache_folder / native_packages.REMEMBERED).write_text("no JSON")
    assert native_packages.state("faiss") == "usable"
    shutil.rmtree(cache_folder)
    cache_folder.write_text("a file in place of the folder")
    assert native_packages.state("faiss") == "usable"


def test_a_package_that_is_not_installed_is_said_to_be_that(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace(monkeypatch, "numkong", distribution="pinyon-has-no-such-package")
    caplog.set_level(logging.INFO)
    assert not native_packages.usable("numkong")
    assert "numkong is not installed" in caplog.text


@pytest.mark.anyio
async def test_answers_are_the_same_without_any_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    for usable in (True, False):
        if not usable:
            for name in PACKAGES:
                replace(monkeypatch, name, code=ILLEGAL_INSTRUCTION)
                (tmp_path / "cache" / native_packages.REMEMBERED).unlink(missing_ok=True)
            native_packages.usable.cache_clear()
        engine = await SqliteEngine.open_folder(tmp_path / str(usable), 2, 0, approximate_from=2_000, cache_bytes=2**24)
        await engine.create_index(IndexSpec("docs", 64, "cosine"))
        await engine.upsert("docs", "a", [Record(f"r{n}", vector, {}) for n, vector in enumerate(VECTORS)])
        await engine.upkeep_done()
        plan = QueryPlan(10, vector=VECTORS[3])
        exact = msgspec.structs.replace(plan, exact=True)
        for _ in range(2):
            answers.append((await engine.query("docs", "a", exact)).matches)
        assert (await engine.query("docs", "a", plan)).approximate == usable
        cached = engine.caches.vectors.latest((engine.index("docs").handle, 1))
        assert cached is not None and (cached.codes[0] is not None) == usable
        await engine.close()
    assert answers[0] == answers[1] == answers[2] == answers[3]
