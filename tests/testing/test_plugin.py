"""The pytest plugin, as users have it: the examples of its page, in a run of pytest of their own."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pinyon.errors import FailedPrecondition
from pinyon.testing import PinyonServer

from tests.running import PROJECT, environment

PAGE = (PROJECT / "docs" / "testing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def run_pytest(folder: Path, test: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest without the settings and plugins of this project's own."""
    (folder / "test_mine.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\n")
    told = [
        sys.executable,
        "-m",
        "pytest",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "pinyon.testing.plugin",
        *options,
    ]
    env = {**environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(PROJECT / "app")}
    return subprocess.run(told, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def test_the_examples_of_the_page_pass(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, EXAMPLES[0])
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_the_package_brings_the_plugin() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"pinyon": "pinyon.testing.plugin"}


@pytest.fixture(scope="module")
def quick() -> Iterator[PinyonServer]:
    with PinyonServer() as server:
        yield server


def test_the_other_example_works(quick: PinyonServer) -> None:
    code = EXAMPLES[1].replace("with PinyonServer() as server:", "if True:")
    assert code != EXAMPLES[1]
    exec(code, {"server": quick})


def test_a_stand_in_answers_for_every_model_and_says_so(quick: PinyonServer) -> None:
    index = quick.create_index(model="multilingual-e5-large", text_field="body")
    assert index.dimension == 1024
    with httpx.Client(base_url=index.host, timeout=60) as http:
        for record in ({"_id": "a", "body": "apples are red"}, {"_id": "b", "body": "the sky is blue"}):
            answer = http.post("/records/namespaces/n/upsert", json=record).raise_for_status()
            assert answer.headers["x-pinyon-model"] == "pinyon-hash-embed; stand-in-for=multilingual-e5-large"
        asked = {
            "query": {"inputs": {"text": "blue sky"}, "top_k": 2},
            "rerank": {"model": "bge-reranker-v2-m3", "rank_fields": ["body"]},
        }
        answer = http.post("/records/namespaces/n/search", json=asked).raise_for_status()
    assert [hit["_id"] for hit in answer.json()["result"]["hits"]] == ["b", "a"]
    assert "bm25; stand-in-for=bge-reranker-v2-m3" in answer.headers["x-pinyon-model"]
    assert "every model is a STAND-IN that knows only words" in quick.output


def test_what_the_server_refuses_is_said(quick: PinyonServer) -> None:
    with pytest.raises(FailedPrecondition, match="Model 'no-such-model' not found"):
        quick.create_index(model="no-such-model")


def test_indexes_are_apart_and_are_deleted(quick: PinyonServer) -> None:
    first, second = quick.create_index(dimension=2), quick.create_index(dimension=2)
    assert first.host != second.host
    first.delete()
    second.delete()
    with pytest.raises(FailedPrecondition, match="not found"):
        second.delete()


def test_nothing_is_left_of_a_server_that_has_stopped() -> None:
    with PinyonServer() as server:
        server.create_index("docs", dimension=2)
        pid = server.process.pid
    (data,) = re.findall(r"^  data     (\S+)$", server.output, flags=re.MULTILINE)
    assert f"The temporary data folder {data} was removed." in server.output
    assert not Path(data).exists()
    assert server.process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(FailedPrecondition, match="Expected `int` <= 65535"):
        PinyonServer("quick", "--port", "99999")
