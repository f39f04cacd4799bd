"""Files of every kind as blocks, and what is said of files that cannot be read."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pinyon.documents import reading
from pinyon.documents.blocks import Block, Document
from pinyon.errors import FailedPrecondition, InvalidArgument

from tests.documents.made import pdf, word


def read(folder: Path, name: str, content: str | bytes) -> Document:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return reading.read(path)


def refusal(folder: Path, name: str, content: str | bytes) -> str:
    with pytest.raises(InvalidArgument) as raised:
        read(folder, name, content)
    return raised.value.message


MARKDOWN = """---
title: "The guide"
tags: fruit
---
# Apples

They are **red** and
[sweet](https://example.com).

## Kinds

1. Fuji
2. Gala
   - small
   - large

| name | weight |
|------|-------:|
| Fuji | 150 g  |

```python
def eat():

    pass
```

> A quote.

<details><p>Hidden <b>text</b></p></details>
"""


def test_markdown_has_headings_lists_tables_and_code_without_markup(tmp_path: Path) -> None:
    document = read(tmp_path, "guide.md", MARKDOWN)
    assert document.title == "The guide"
    assert document.blocks == [
        Block("code", 'title: "The guide"\ntags: fruit'),
        Block("heading", "Apples", 1),
        Block("paragraph", "They are red and\nsweet."),
        Block("heading", "Kinds", 2),
        Block("list", "1. Fuji\n2. Gala\n  - small\n  - large"),
        Block("table", "name | weight\nFuji | 150 g"),
        Block("code", "def eat():\n\n    pass"),
        Block("paragraph", "A quote."),
        Block("paragraph", "Hidden text"),
    ]


HTML = """<!doctype html><html><head><title>All  about
apples</title><style>p {color: red}</style></head><body><nav><a href=/>Home</a></nav>
<h1>Apples</h1><div>They are <b>red</b>
 and <i>sweet</i>.<br>Eat them.<p>Often.</div>
<ol><li>Fuji<li><p>Gala</p><ul><li>small</ul></ol>
<pre><code>def eat():
    pass
</code></pre>
<table><thead><tr><th>name<th>weight</thead><tr><td>Fuji<td>150 <b>g</b><tr><td colspan=2>more</table>
<script>alert("no")</script><!-- no --></body></html>"""


def test_html_has_the_text_of_its_body_without_scripts_and_navigation(tmp_path: Path) -> None:
    document = read(tmp_path, "page.html", HTML)
    assert document.title == "All about apples"
    assert document.blocks == [
        Block("heading", "Apples", 1),
        Block("paragraph", "They are red and sweet.\nEat them."),
        Block("paragraph", "Often."),
        Block("list", "1. Fuji\n2. Gala\n  - small"),
        Block("code", "def eat():\n    pass"),
        Block("table", "name | weight\nFuji | 150 g\nmore"),
    ]


def test_html_is_read_in_the_encoding_that_it_names(tmp_path: Path) -> None:
    page = '<meta charset="iso-8859-1"><p>Äpfel'
    assert read(tmp_path, "page.htm", page.encode("latin-1")).blocks == [Block("paragraph", "Äpfel")]


RST = """
Apples
======

They are **red**, see :ref:`kinds`.

Kinds
-----

#. Fuji
#. Gala

   * small

.. note:: Eat them.

.. code-block:: python

   def eat():
       pass

.. automodule:: apples
   :members:

.. raw:: html

   <script>alert("no")</script>

.. include:: /etc/hostname

.. csv-table::
   :file: /etc/passwd

====  ======
name  weight
====  ======
Fuji  150 g
====  ======
"""


def test_restructuredtext_has_its_blocks_and_reads_no_other_file(tmp_path: Path) -> None:
    document = read(tmp_path, "guide.rst", RST)
    assert document.title == "Apples"
    blocks = document.blocks
    assert blocks[:3] == [
        Block("heading", "Apples", 1),
        Block("paragraph", "They are red, see :ref:`kinds`."),
        Block("heading", "Kinds", 2),
    ]
    assert Block("list", "1. Fuji\n2. Gala\n  - small") in blocks
    assert Block("paragraph", "Eat them.") in blocks
    assert Block("code", "def eat():\n    pass") in blocks
    assert Block("table", "name | weight\nFuji | 150 g") in blocks
    told = "\n".join(block.text for block in blocks)
    assert ".. automodule:: apples" in told, "what docutils does not know is kept as text"
    assert "root:" not in told and Path("/etc/hostname").read_text().strip() not in told.split()
    assert "Unknown" not in told and "disabled" not in told


def test_plain_text_and_code_are_split_at_empty_lines(tmp_path: Path) -> None:
    assert [b.text for b in read(tmp_path, "a.txt", "One\r\ntwo.\r\n\r\n \r\nThree.").blocks] == ["One\ntwo.", "Three."]
    code = "import this\n\n\ndef one():\n    a = 1\n\n    return a\n\n\ndef two(): ...\n"
    assert read(tmp_path, "a.py", code).blocks == [
        Block("code", "import this"),
        Block("code", "def one():\n    a = 1\n\n    return a"),
        Block("code", "def two(): ..."),
    ]


def test_pdf_has_the_text_of_each_page_with_its_number(tmp_path: Path) -> None:
    document = read(tmp_path, "report.pdf", pdf("Apples are red.", "Pears are green."))
    assert document == Document(
        "The report", [Block("paragraph", "Apples are red.", page=1), Block("paragraph", "Pears are green.", page=2)]
    )


def test_a_pdf_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    assert refusal(tmp_path, "a.pdf", pdf("Secret", password="x")) == "it is encrypted and needs a password"
    assert "2 pages without text, so it is a scan" in refusal(tmp_path, "a.pdf", pdf("", ""))
    assert refusal(tmp_path, "a.pdf", b"%PDF-1.4 and no more").startswith("it is damaged: ")
    whole = pdf("Apples are red.")
    assert refusal(tmp_path, "a.pdf", whole[: len(whole) // 3]).startswith("it is damaged: ")


LETTER = word(
    "The letter", "Apples", "They are red.", items=["Fuji", "Gala"], rows=[["name", "weight"], ["Fuji", "150 g"]]
)


def test_docx_has_headings_lists_and_tables_in_their_order(tmp_path: Path) -> None:
    document = read(tmp_path, "letter.docx", LETTER)
    assert document == Document(
        "The letter",
        [
            Block("heading", "Apples", 1),
            Block("paragraph", "They are red."),
            Block("list", "- Fuji\n- Gala"),
            Block("table", "name | weight\nFuji | 150 g"),
        ],
    )


def test_a_docx_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * 30 * 2**20)
    assert "it unpacks to 31457280 bytes" in refusal(tmp_path, "bomb.docx", buffer.getvalue())
    assert len(buffer.getvalue()) < 100_000


def test_a_docx_whose_entities_would_grow_without_end_is_not_expanded(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    body = f'<!DOCTYPE x [<!ENTITY a0 "haha">{laughs}]><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>&a11;</w:t></w:r></w:p></w:body></w:document>'
    with zipfile.ZipFile(io.BytesIO(LETTER)) as good, zipfile.ZipFile(tmp_path / "laughs.docx", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, body if name == "word/document.xml" else good.read(name))
    try:  # as versions of libxml2 have it
        assert reading.read(tmp_path / "laughs.docx").blocks == []
    except InvalidArgument as error:
        assert "amplification" in error.message


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "caf\xe9".encode("latin-1"), "it is not utf-8 text: byte 0xe9 at position 3; convert it to UTF-8"),
        ("a.md", b"a\0b", "it is no text: it has bytes that are 0"),
        ("a.html", b"<meta charset=klingon><p>x", "it names the encoding 'klingon', which is unknown"),
        ("a.docx", b"PK but no archive", "it is no DOCX file; it is damaged, encrypted, or of an older format"),
        ("a.exe", b"MZ", "it is no document: nothing reads files that end in .exe"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    assert refusal(tmp_path, name, content) == reason


def test_text_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, "a.txt", "Äpfel".encode("utf-16")).blocks == [Block("paragraph", "Äpfel")]
    assert read(tmp_path, "a.txt", "\ufeffÄpfel".encode()).blocks == [Block("paragraph", "Äpfel")]


def test_a_text_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_TEXT", 10)
    assert refusal(tmp_path, "a.txt", b"x" * 11) == "it has 11 bytes; at most 10 are read"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", "> " * 3_000 + "deep"),
        ("a.md", "".join(f"{'  ' * depth}- item\n" for depth in range(500))),
        ("a.md", "[" * 5_000),
        ("a.html", "<div>" * 4_000 + "deep"),
        ("a.html", "<ul><li>" * 2_000 + "deep"),
        ("a.html", "<div>" * 1_000_000 + "deep"),
        ("a.html", "<table><tr><td>" * 1_000 + "deep"),
        ("a.rst", "".join(f"{'  ' * depth}* item\n\n" for depth in range(400))),
    ],
)
def test_deep_nesting_ends_in_a_document_or_a_reason(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    try:
        assert reading.read(tmp_path / name).blocks
    except InvalidArgument as error:
        assert error.message == "it is nested too deeply"


def test_a_missing_library_is_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pinyon.documents.readers.pdf", raising=False)
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(FailedPrecondition, match=r"needs the package pypdf; .*pinyon\[documents\]"):
        read(tmp_path, "a.pdf", b"%PDF-1.4")


def test_no_library_is_imported_before_such_a_file_is_read(tmp_path: Path) -> None:
    libraries = {"markdown_it", "selectolax", "pypdf", "docx", "docutils", "watchfiles"}
    told = (
        "import sys; import pinyon.asgi, pinyon.cli.main, pinyon.documents.reading; "
        f"print({libraries} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True)
    assert done.stdout == "set()\n", done
