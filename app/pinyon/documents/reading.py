"""Reads a file as a document, by the ending of its name."""

import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from pinyon.documents.blocks import Document
from pinyon.errors import FailedPrecondition, InvalidArgument, PinyonError

MOST_TEXT, MOST_FILE = 10 * 2**20, 200 * 2**20
"""Bytes of a text file, and of a PDF or DOCX file. Parsers need up to a hundred times the size of a text."""

# fmt: off
CODE = (
    "bash", "c", "cc", "clj", "cpp", "cs", "css", "cxx", "dart", "erl", "ex", "exs", "fs", "go", "gradle",
    "graphql", "groovy", "h", "hh", "hpp", "hs", "ini", "java", "jl", "js", "jsx", "kt", "kts", "less", "lisp",
    "lua", "m", "mjs", "ml", "mm", "nim", "nix", "pas", "php", "pl", "pm", "proto", "ps1", "py", "pyi", "r", "rb",
    "rs", "scala", "scm", "scss", "sh", "sql", "svelte", "swift", "tcl", "tf", "toml", "ts", "tsx", "vb", "vue",
    "xml", "yaml", "yml", "zig", "zsh",
)
# fmt: on
KINDS: dict[str, str] = {
    **dict.fromkeys(("md", "markdown", "mdx"), "markdown.read"),
    **dict.fromkeys(("html", "htm", "xhtml"), "html.read"),
    **dict.fromkeys(("txt", "text"), "plain_text.read_text"),
    **dict.fromkeys(("rst", "rest"), "restructuredtext.read"),
    **dict.fromkeys(CODE, "plain_text.read_code"),
    "pdf": "pdf.read",
    "docx": "docx.read",
}
"""The reader of each ending. It is imported when the first such file is read."""
BINARY = ("pdf", "docx")
"""Read from their path; readers of texts get the content."""


def is_document(path: Path) -> bool:
    """Whether there is a reader for files with such a name."""
    return _ending(path) in KINDS


def read(path: Path) -> Document:
    """The document in a file.

    Raises InvalidArgument if the file cannot be read; the message has the form "it is ...", without the name of the
    file. Raises FailedPrecondition if the library that reads it is not installed.
    """
    ending = _ending(path)
    if ending not in KINDS:
        raise InvalidArgument(f"it is no document: nothing reads files that end in .{ending}")
    try:
        size = path.stat().st_size
        most = MOST_FILE if ending in BINARY else MOST_TEXT
        if size > most:
            raise InvalidArgument(f"it has {size} bytes; at most {most} are read")
        return _reader(KINDS[ending])(path if ending in BINARY else path.read_bytes())
    except PinyonError:
        raise
    except OSError as error:
        raise InvalidArgument(f"it cannot be opened: {error.strerror or error}") from error
    except MemoryError:
        pass  # what was read is freed first: an error needs memory, too
    except RecursionError:
        raise InvalidArgument("it is nested too deeply") from None
    except Exception as error:  # parsers raise errors of every class about damaged files
        raise InvalidArgument(f"it is damaged: {type(error).__name__}: {str(error)[:200]}") from error
    raise InvalidArgument("it needs too much memory to read")


def _reader(name: str) -> Callable[[Path | bytes], Document]:
    module, _, function = name.partition(".")
    for library in ("pypdf", "docutils"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # they warn about every irregularity of a file
    try:
        reader: Callable[[Path | bytes], Document] = getattr(
            import_module(f"pinyon.documents.readers.{module}"), function
        )
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"Reading documents needs the package {error.name}; install the extra: pip install 'pinyon[documents]'"
        ) from error
    return reader


def _ending(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")
