"""Ids of the records of a document: `path#0003`, the path in ASCII.

The first chunk is number 0. Characters of the path that an id cannot have are written as in URLs.
"""

import hashlib
import string
from urllib.parse import quote

LONGEST = 480
"""Characters of the path in an id, which with a number stays below Pinecone's 512."""
PLAIN = "".join(sorted(set(string.printable) - set(string.whitespace) - {"%"})) + " "
"""What stands for itself in an id."""


def document_id(source: str) -> str:
    """The part before the number. source: the path as the system has it. A long one ends in a hash of the rest."""
    plain = quote(source, safe=PLAIN, errors="surrogateescape")
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST - 33]}~{hashlib.sha256(plain.encode()).hexdigest()[:32]}"


def chunk_id(document: str, number: int) -> str:
    """The id of a chunk."""
    return f"{document}#{number:04d}"


def parsed(id: str) -> tuple[str, int] | None:
    """The document and the number of a chunk; None for ids that chunk_id() does not make."""
    document, mark, number = id.rpartition("#")
    if not mark or not number.isascii() or not number.isdigit() or chunk_id(document, int(number)) != id:
        return None
    return document, int(number)
