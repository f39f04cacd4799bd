"""A document that takes too much is named, and the others are read."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pinyon.documents import reader_process
from pinyon.documents.blocks import Block
from pinyon.documents.reader_process import ReaderProcess
from pinyon.errors import InvalidArgument

from tests.running import GIVEN_UP_S

pytestmark = pytest.mark.anyio


async def refusal(reader: ReaderProcess, path: Path) -> str:
    with pytest.raises(InvalidArgument) as raised:
        await reader.read(path)
    return raised.value.message


async def test_documents_are_read_one_after_another_by_one_process(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Äpfel\n\nThey are red.")
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    (tmp_path / os.fsdecode(b"c\xff.txt")).write_text("Pears.")
    async with ReaderProcess() as reader:
        document = await reader.read(tmp_path / "a.md")
        assert document.title == "Äpfel" and document.blocks[1] == Block("paragraph", "They are red.")
        assert "it is not utf-8 text: byte 0xe9" in await refusal(reader, tmp_path / "b.txt")
        assert (await reader.read(tmp_path / os.fsdecode(b"c\xff.txt"))).blocks == [Block("paragraph", "Pears.")]


async def test_a_document_that_takes_hours_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endless.md").write_text("[" * 3_000_000)  # the parser takes the square of it
    (tmp_path / "a.md").write_text("Apples.")
    async with ReaderProcess() as reader:
        monkeypatch.setattr(reader_process, "MOST_SECONDS", 0.5)
        assert await refusal(reader, tmp_path / "endless.md") == "it takes longer than 0 s to read"
        monkeypatch.setattr(reader_process, "MOST_SECONDS", 300.0)
        assert (await reader.read(tmp_path / "a.md")).blocks == [Block("paragraph", "Apples.")]


async def test_a_process_that_crashes_costs_its_document_only(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Apples.")
    async with ReaderProcess() as reader:
        await reader.read(tmp_path / "a.md")
        assert reader._process is not None
        reader._process.send_signal(signal.SIGSEGV)
        await reader._process.wait()
        assert "ended with status -11" in await refusal(reader, tmp_path / "a.md")
        assert (await reader.read(tmp_path / "a.md")).blocks == [Block("paragraph", "Apples.")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count the address space")
def test_a_document_that_takes_too_much_memory_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "long.md").write_text("- a\n" * 100_000)
    program = (
        "from pinyon.documents import reader_process as r; from pathlib import Path; r.MOST_MEMORY = 150 * 2**20; "
        f"r._bound_memory(); print(r._answer(Path({str(tmp_path / 'long.md')!r})).unreadable)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=GIVEN_UP_S)
    assert done.stdout == "it needs too much memory to read\n", done
