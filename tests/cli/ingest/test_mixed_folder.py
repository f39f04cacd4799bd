"""A folder of two hundred documents of every kind: ingested, changed, ingested again."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from tests.cli.ingest.ingested import Ingested
from tests.documents.made import pdf, word

WORDS = [
    "apple",
    "pear",
    "plum",
    "river",
    "stone",
    "paper",
    "light",
    "garden",
    "winter",
    "engine",
    "copper",
    "window",
    "letter",
    "bridge",
    "summer",
]
Texts = list[str]


def markdown(texts: Texts) -> str:
    rows = "\n".join(f"| {n} | {text} |" for n, text in enumerate(texts))
    return (
        "# Title\n\n"
        + "\n\n".join(f"## Part {n}\n\n{text}" for n, text in enumerate(texts))
        + f"\n\n| n | text |\n|-|-|\n{rows}\n"
    )


def html(texts: Texts) -> str:
    return "<title>Title</title>" + "".join(f"<h2>Part {n}</h2><p>{text}</p>" for n, text in enumerate(texts))


def restructuredtext(texts: Texts) -> str:
    return "".join(f"Part {n}\n{'=' * 8}\n\n{text}\n\n" for n, text in enumerate(texts))


def code(texts: Texts) -> str:
    return "\n\n\n".join(f'def part_{n}():\n    return """{text}"""' for n, text in enumerate(texts))


KINDS: dict[str, Callable[[Texts], str | bytes]] = {
    "md": markdown,
    "html": html,
    "rst": restructuredtext,
    "txt": "\n\n".join,
    "py": code,
    "pdf": lambda texts: pdf(*texts),
    "docx": lambda texts: word("Title", "Part", texts[0], items=texts[1:]),
}


def texts_of(dice: random.Random) -> Texts:
    return [" ".join(dice.choices(WORDS, k=dice.randint(5, 60))) + "." for _ in range(dice.randint(1, 12))]


def stored_text(ingested: Ingested) -> dict[str, str]:
    """The words of each document, in the order of its chunks."""
    texts: dict[str, str] = {}
    for _, record in sorted(ingested.records.items()):
        texts[record["source"]] = texts.get(record["source"], "") + " " + record["chunk_text"]
    return {source: " ".join(text.split()) for source, text in texts.items()}


@pytest.mark.slow
def test_two_hundred_documents_are_stored_whole_and_follow_their_folder(ingested: Ingested) -> None:
    dice = random.Random(0)
    contents: dict[str, Texts] = {}

    def write(name: str) -> None:
        contents[name] = texts_of(dice)
        ingested.write(name, KINDS[name.rpartition(".")[2]](contents[name]))

    def check() -> None:
        found = stored_text(ingested)
        assert set(found) == {f"docs/{name}" for name in contents}
        for name, texts in contents.items():
            assert all(text in found[f"docs/{name}"] for text in texts), name

    for number in range(203):
        write(f"folder {number % 9}/{number}.{list(KINDS)[number % len(KINDS)]}")
    done = ingested.ok("--chunk-tokens", "64")
    assert done.out.strip().endswith("Documents: 203 new.")
    check()

    before = ingested.records
    names = dice.sample(sorted(contents), 30)
    changed, gone, damaged = names[:15], names[15:25], [name for name in names[25:] if not name.endswith("docx")]
    for name in changed:
        write(name)
    for name in gone:
        (ingested.folder / name).unlink()
        del contents[name]
    for name in damaged:
        (ingested.folder / name).write_bytes(b"\xff\0")
    write("new.md")
    done = ingested.ok("--chunk-tokens", "64")
    told = Counter(line.split()[0] for line in (done.out + done.err).splitlines() if "docs/" in line)
    assert told == {"new": 1, "changed": len(changed), "deleted": len(gone), "skipped": len(damaged)}
    check()
    after = ingested.records
    touched = {f"docs/{name}" for name in [*changed, *gone, "new.md"]}
    assert {id: r for id, r in before.items() if r["source"] not in touched} == {
        id: r for id, r in after.items() if r["source"] not in touched
    }
    assert "Embedded 0 chunks." in ingested.ok("--chunk-tokens", "64").out
