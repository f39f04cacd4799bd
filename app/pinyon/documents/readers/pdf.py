"""PDF, by pypdf. The text of a page, as the file has it: paragraphs end at empty lines."""

from pathlib import Path

from pypdf import PasswordType, PdfReader

from pinyon.documents.blocks import BlockBuilder, Document
from pinyon.documents.readers.plain_text import PARAGRAPH_END
from pinyon.errors import InvalidArgument


def read(path: Path) -> Document:
    """Raises InvalidArgument if it needs a password, or has pages but no text."""
    with path.open("rb") as stream:
        reader = PdfReader(stream)
        if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
            raise InvalidArgument("it is encrypted and needs a password")
        builder = BlockBuilder()
        for number, page in enumerate(reader.pages, start=1):
            builder.page = number
            for paragraph in PARAGRAPH_END.split(page.extract_text().replace("\0", "")):
                builder.paragraph(paragraph)
        title = reader.metadata.title if reader.metadata is not None else None
        document = builder.document(title or "")
    if not document.blocks and builder.page:
        raise InvalidArgument(
            f"it has {builder.page} pages without text, so it is a scan; add text to it with a program for text "
            "recognition (OCR)"
        )
    return document
