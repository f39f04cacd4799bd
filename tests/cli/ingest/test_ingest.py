"""`pinyon ingest`: a folder and a namespace in step."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.cli.ingest.ingested import Ingested
from tests.cli.transfer.commands import Pinyon
from tests.running import GIVEN_UP_S, PROJECT, config, environment

GUIDE = """# Guide

Apples are red.

## Storage

Keep them cool.
"""
LONG = "\n\n".join(f"## Part {number}\n\nThis is part {number} of a long document." for number in range(250))


def last(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_each_chunk_is_a_record_with_its_place_in_the_document(ingested: Ingested) -> None:
    guide = ingested.write("fruit/guide.md", GUIDE)
    os.utime(guide, (1_700_000_000, 1_700_000_000))
    ingested.write("notes.txt", "Pears are green.")
    done = ingested.ok()
    found = ingested.records
    assert sorted(found) == ["docs/fruit/guide.md#0000", "docs/fruit/guide.md#0001", "docs/notes.txt#0000"]
    storage = found["docs/fruit/guide.md#0001"]
    assert len(found["docs/fruit/guide.md#0000"]["content_hash"]) == 64
    assert storage == {
        "source": "docs/fruit/guide.md",
        "title": "Guide",
        "heading": "Guide > Storage",
        "chunk": 1,
        "modified": 1_700_000_000,
        "chunk_text": "Storage\n\nKeep them cool.",
    }
    assert found["docs/notes.txt#0000"]["title"] == "notes.txt"
    assert "new        docs/fruit/guide.md: 2 of 2 chunks embedded" in done.out
    assert last(done.out) == "Embedded 3 chunks. Documents: 2 new."


def test_a_further_run_embeds_what_has_changed_and_deletes_what_is_gone(ingested: Ingested) -> None:
    guide, gone = ingested.write("guide.md", GUIDE), ingested.write("gone.md", GUIDE)
    ingested.write("same.md", GUIDE)
    ingested.ok()
    before = ingested.records
    assert last(ingested.ok().out) == "Embedded 0 chunks. Documents: 3 unchanged."
    assert ingested.records == before
    guide.write_text(GUIDE.replace("cool", "warm"))
    os.utime(guide, (1_800_000_000, 1_800_000_000))
    gone.unlink()
    done = ingested.ok()
    assert "changed    docs/guide.md: 1 of 2 chunks embedded" in done.out
    assert "deleted    docs/gone.md: 2 chunks" in done.out
    assert last(done.out) == "Embedded 1 chunk. Documents: 1 changed, 1 unchanged, 1 deleted."
    after = ingested.records
    assert sorted(after) == [f"docs/{name}.md#000{number}" for name in ("guide", "same") for number in (0, 1)]
    assert "warm" in after["docs/guide.md#0001"]["chunk_text"]
    assert {after[f"docs/guide.md#000{number}"]["modified"] for number in (0, 1)} == {1_800_000_000}
    assert after["docs/same.md#0000"] == before["docs/same.md#0000"]
    guide.write_text("# Guide\n\nApples are red.\n")
    assert "changed    docs/guide.md: 0 of 1 chunk embedded" in ingested.ok().out
    assert "docs/guide.md#0001" not in ingested.records
    guide.write_text("")
    assert "empty      docs/guide.md: it has no text" in ingested.ok().out
    assert sorted(ingested.records) == ["docs/same.md#0000", "docs/same.md#0001"]


def test_a_document_of_many_requests_is_written_and_deleted_whole(ingested: Ingested) -> None:
    long = ingested.write("long.md", LONG)
    ingested.write("other.md", GUIDE)
    assert last(ingested.ok().out) == "Embedded 252 chunks. Documents: 2 new."
    assert len(ingested.records) == 252
    long.write_text(LONG.replace("Part 249", "The last part"))
    assert last(ingested.ok().out) == "Embedded 1 chunk. Documents: 1 changed, 1 unchanged."
    assert ingested.records["docs/long.md#0249"]["heading"] == "The last part"
    long.unlink()
    assert last(ingested.ok().out) == "Embedded 0 chunks. Documents: 1 unchanged, 1 deleted."
    assert len(ingested.records) == 2


def test_other_chunk_sizes_make_other_chunks(ingested: Ingested) -> None:
    ingested.write("a.txt", "Apples are red. " * 40)
    ingested.ok()
    assert len(ingested.records) == 1
    assert "changed    docs/a.txt: 4 of 4 chunks embedded" in ingested.ok("--chunk-tokens", "40").out
    assert last(ingested.ok("--chunk-tokens", "40").out).endswith("1 unchanged.")
    assert "embedded" in ingested.ok("--chunk-tokens", "40", "--overlap", "8").out
    texts = [record["chunk_text"] for _, record in sorted(ingested.records.items())]
    assert len(texts) == 5 and texts[0].endswith("red.")


def test_files_that_cannot_be_read_are_named_and_what_is_stored_of_them_stays(ingested: Ingested) -> None:
    ingested.write("good.md", GUIDE)
    broken = ingested.write("broken.txt", "fine so far")
    ingested.ok()
    broken.write_bytes(b"caf\xe9")
    ingested.write("bad.pdf", b"%PDF-1.4 and no more")
    (ingested.folder / "link.md").symlink_to("/etc/hostname")
    done = ingested.ok()
    assert "skipped    docs/broken.txt: it is not utf-8 text: byte 0xe9 at position 3" in done.err
    assert "what was stored of it before stays" in done.err
    assert "skipped    docs/bad.pdf: it is damaged" in done.err
    assert "skipped    docs/link.md: it is a link to a place outside of the folder" in done.err
    assert last(done.out) == "Embedded 0 chunks. Documents: 1 unchanged, 3 skipped."
    assert ingested.records["docs/broken.txt#0000"]["chunk_text"] == "fine so far"


def test_hidden_files_builds_and_what_the_globs_say_are_left_out(ingested: Ingested) -> None:
    for name in ("a.md", "b.txt", ".hidden.md", ".git/c.md", "node_modules/d.md", "drafts/e.md", "docs/f.md", "g.bin"):
        ingested.write(name, "Text.")

    def sources(*options: str) -> list[str]:
        ingested.ok(*options)
        return sorted(id.split("#")[0].removeprefix("docs/") for id in ingested.records)

    assert sources() == ["a.md", "b.txt", "docs/f.md", "drafts/e.md"]
    assert sources("--exclude", "drafts/") == ["a.md", "b.txt", "docs/f.md"]
    assert sources("--include", "*.md", "--exclude", "docs/*.md") == ["a.md", "drafts/e.md"]


def test_a_dry_run_says_the_same_and_writes_nothing(ingested: Ingested) -> None:
    ingested.write("guide.md", GUIDE)
    assert last(ingested.ok("--dry-run").out) == "Would embed 2 chunks. Documents: 1 new."
    assert ingested.records == {}
    ingested.ok()
    before = ingested.records
    ingested.write("guide.md", GUIDE.replace("cool", "warm"))
    ingested.write("new.md", GUIDE)
    done = ingested.ok("--dry-run")
    assert "changed    docs/guide.md: 1 of 2 chunks to embed" in done.out
    assert ingested.records == before


def test_records_of_others_and_of_other_folders_are_left_alone(ingested: Ingested) -> None:
    url = f"{ingested.url}/records/namespaces/{ingested.namespace}/upsert"
    httpx.post(url, json={"_id": "docs/mine#0000", "chunk_text": "Mine."}, timeout=60).raise_for_status()
    ingested.write("a.md", "Text.")
    ingested.ok("--prefix", "other/")
    ingested.ok()
    assert sorted(ingested.records) == ["docs/a.md#0000", "docs/mine#0000", "other/a.md#0000"]


def test_an_empty_folder_deletes_everything_only_if_it_is_said(ingested: Ingested) -> None:
    path = ingested.write("a.md", "Text.")
    ingested.ok()
    path.unlink()
    done = ingested.run()
    assert done.status == 1 and "has no documents, but the namespace has 1 of it; nothing was deleted" in done.err
    assert len(ingested.records) == 1
    assert last(ingested.ok("--allow-empty").out) == "Embedded 0 chunks. Documents: 1 deleted."
    assert ingested.records == {}


@pytest.mark.parametrize(("content_hash", "rest"), [("", 250), ("of something else", 250), ("", 100)])
def test_a_document_that_an_interrupted_run_left_is_made_whole(
    ingested: Ingested, content_hash: str, rest: int
) -> None:
    """As an earlier run can leave it: chunk 0 is marked, and others are missing, or of another text."""
    ingested.write("long.md", LONG)
    ingested.ok()
    whole = ingested.records
    ids = sorted(whole)
    change = {"namespace": ingested.namespace, "id": ids[0], "setMetadata": {"content_hash": content_hash}}
    httpx.post(f"{ingested.url}/vectors/update", json=change, timeout=60).raise_for_status()
    delete = {"namespace": ingested.namespace, "ids": [*ids[rest:], ids[7]]}
    httpx.post(f"{ingested.url}/vectors/delete", json=delete, timeout=60).raise_for_status()
    stale = {"_id": ids[5], **whole[ids[5]], "chunk_text": "Something else."}
    url = f"{ingested.url}/records/namespaces/{ingested.namespace}/upsert"
    httpx.post(url, json=stale, timeout=60).raise_for_status()
    assert f"Embedded {250 - rest + 2} chunks." in ingested.ok().out
    assert ingested.records == whole


def test_names_that_an_id_cannot_have_are_written_as_in_addresses(ingested: Ingested) -> None:
    strange = [os.fsdecode(b"not utf-8 \xff.md"), "two\nlines.md"]
    names = ["Äpfel & Co.md", "a#b%.md", "long/" * 90 + "a" * 200 + ".md", "long/" * 90 + "a" * 200 + "b.md"]
    for name in [*names, *strange]:
        ingested.write(name, "Text.")
    out = ingested.ok().out
    assert "docs/not utf-8 \ufffd.md: 1 of 1" in out and "docs/two?lines.md: 1 of 1" in out
    found = ingested.records
    assert {record["source"] for record in found.values()} == {
        *(f"docs/{name}" for name in names),
        "docs/not utf-8 \ufffd.md",
        "docs/two\nlines.md",
    }
    assert {"docs/%C3%84pfel & Co.md#0000", "docs/a#b%25.md#0000", "docs/two%0Alines.md#0000"} < set(found)
    assert all(len(id) <= 512 for id in found)
    assert last(ingested.ok().out) == "Embedded 0 chunks. Documents: 6 unchanged."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chunk-tokens", "8"], "--chunk-tokens must be between 32 and 256"),
        (["--chunk-tokens", "9999"], "which is what the model reads; got 9999"),
        (["--overlap", "300"], "--overlap must be at least 0 and less than half of a chunk of 256 tokens"),
        (["--watch", "--dry-run"], "either --watch or --dry-run"),
        (["--index", "nothing"], "nothing"),
        (["--url", "http://127.0.0.1:1"], "Nobody answers at http://127.0.0.1:1"),
        (["--url", "localhost"], "is no address of a server"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(ingested: Ingested, options: list[str], message: str) -> None:
    ingested.write("a.md", "Text.")
    done = ingested.run(*options)
    assert done.status == 1 and message in done.err, done.err
    assert ingested.records == {}


def test_without_a_folder_there_is_nothing_to_ingest(ingested: Ingested) -> None:
    ingested.folder.rmdir()
    done = ingested.run()
    assert done.status == 1 and f"There is no folder {ingested.folder}" in done.err


def test_without_a_server_the_command_opens_the_data_folder_itself(pinyon: Pinyon, tmp_path: Path) -> None:
    settings, data = config(tmp_path), tmp_path / "data"
    data.mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.md").write_text(GUIDE)
    command = ["ingest", tmp_path / "docs", "--config", settings, "--data-dir", data, "--index", "quickstart"]
    assert last(pinyon.ok(*command).out) == "Embedded 2 chunks. Documents: 1 new."
    assert last(pinyon.ok(*command).out) == "Embedded 0 chunks. Documents: 1 unchanged."


def test_a_watched_folder_is_kept_in_step(ingested: Ingested) -> None:
    ingested.write("a.md", "Text.")
    command = [sys.executable, "-m", "pinyon", *map(str, ingested.arguments), "--watch"]
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment(PYTHONUNBUFFERED="1"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines, given_up = iter(process.stdout), threading.Timer(GIVEN_UP_S, process.kill)
        given_up.start()

        def told(words: str) -> None:
            assert any(words in line for line in lines), f"no {words!r}"

        try:
            told("Watching")
            ingested.write("b.md", "More.")
            told("new        docs/b.md: 1 of 1 chunk embedded")
            told("Documents: ")
            assert sorted(ingested.records) == ["docs/a.md#0000", "docs/b.md#0000"]
            (ingested.folder / "a.md").unlink()
            told("deleted    docs/a.md: 1 chunk")
            told("Documents: ")
            assert sorted(ingested.records) == ["docs/b.md#0000"]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(GIVEN_UP_S)
            given_up.cancel()
    assert process.returncode == 130
