"""Decodes text files. The encoding is what the file says, or UTF-8; it is never guessed."""

import codecs

from pinyon.errors import InvalidArgument

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Byte order marks, which say the encoding at the beginning of a file."""


def decoded(content: bytes, declared: str = "utf-8") -> str:
    """The text, with line ends as "\\n".

    declared: the encoding that the document itself names. A byte order mark wins over it. Raises InvalidArgument if
    the bytes are not text in this encoding.
    """
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), declared)
    try:
        text = content.decode(encoding)
    except LookupError:
        raise InvalidArgument(f"it names the encoding {encoding[:40]!r}, which is unknown") from None
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"it is not {encoding} text: byte 0x{content[error.start]:02x} at position {error.start}; convert it to "
            "UTF-8"
        ) from None
    if "\0" in text:
        raise InvalidArgument("it is no text: it has bytes that are 0")
    return text.replace("\r\n", "\n").replace("\r", "\n")
