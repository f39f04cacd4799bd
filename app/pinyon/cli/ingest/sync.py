"""Brings a namespace in step with a folder: writes what is new or changed, and deletes what is gone."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from pinyon.cli.ingest.folder import Folder, Listing, SourceFile, as_text
from pinyon.cli.ingest.index_model import IndexModel
from pinyon.cli.ingest.stored_documents import Fields, StoredDocument, StoredDocuments
from pinyon.documents.blocks import Document
from pinyon.documents.chunking import Chunk, Chunker
from pinyon.documents.reader_process import ReaderProcess
from pinyon.documents.record_ids import chunk_id
from pinyon.errors import FailedPrecondition, InvalidArgument

FORMAT = 1
"""Of the records. A higher number makes the next run write every document again."""
FIELDS = ("source", "title", "heading", "page", "chunk", "modified", "content_hash")
LONGEST_TITLE, LONGEST_HEADING = 300, 600
"""Characters of these fields. The fields of a record may have 40 KB as JSON, most of them for the text."""
AT_THE_SAME_TIME = 4
"""Documents that are read while others are embedded. Each takes one of asyncio's threads, and those are five or more;
the requests need one of them too."""
CHANGING = ("modified", "content_hash")
"""Fields that a document shares, which do not make a chunk another one."""

What = Literal["new", "changed", "unchanged", "deleted", "empty", "skipped"]


class Outcome(msgspec.Struct, frozen=True):
    """What was done about a document. chunks: that it has, or had. embedded: how many of them were embedded."""

    source: str
    what: What
    chunks: int = 0
    embedded: int = 0
    reason: str = ""


class Sync:
    """One folder and one namespace. dry_run: nothing is written."""

    def __init__(
        self,
        folder: Folder,
        stored: StoredDocuments,
        model: IndexModel,
        chunk_tokens: int,
        overlap: int,
        dry_run: bool = False,
    ) -> None:
        self._folder, self._stored, self._model, self._dry_run = folder, stored, model, dry_run
        self._made_by = f"{FORMAT} {model.name} {chunk_tokens} {overlap}"
        self._chunk_tokens, self._overlap = chunk_tokens, overlap
        self._chunker: Chunker | None = None
        if model.text_field in FIELDS:
            raise FailedPrecondition(
                f"The index embeds the field '{model.text_field}', which `pinyon ingest` needs for something else; "
                f"another name than {', '.join(FIELDS)} is needed"
            )

    async def run(self, on_progress: Callable[[int, int], None], allow_empty: bool = False) -> list[Outcome]:
        """Bring the namespace in step. The outcomes have the order of the sources.

        on_progress: called with how many documents are done, and how many there are. allow_empty: whether an empty
        folder means that everything is to be deleted. If not, it raises FailedPrecondition. Raises PinyonError; then a
        later run goes on.
        """
        if self._chunker is None:
            count = self._model.counter()
            self._chunker = await asyncio.to_thread(Chunker, count, self._chunk_tokens, self._overlap)
        listing = await asyncio.to_thread(self._folder.listed)
        stored = await self._stored.listed(self._folder.id_prefix)
        if not listing.files and stored and not allow_empty:
            raise FailedPrecondition(
                f"{self._folder.root} has no documents, but the namespace has {len(stored)} of it; nothing was "
                "deleted. If they are to be deleted, say --allow-empty"
            )
        outcomes = [Outcome(as_text(source), "skipped", reason=reason) for source, reason in listing.unreadable.items()]
        outcomes += await self._write(listing, stored, on_progress)
        outcomes += await self._delete(listing, stored)
        return sorted(outcomes, key=lambda outcome: outcome.source)

    async def _write(
        self, listing: Listing, stored: dict[str, StoredDocument], on_progress: Callable[[int, int], None]
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        files = iter(listing.files.values())

        async def work(files: Iterator[SourceFile]) -> None:
            async with ReaderProcess() as reader:
                for file in files:
                    outcomes.append(await self._bring_in_step(file, stored.get(file.document), reader))
                    on_progress(len(outcomes), len(listing.files))

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(AT_THE_SAME_TIME):
                    workers.create_task(work(files))
        except BaseExceptionGroup as group:  # the first error has ended the other workers
            raise group.exceptions[0] from None
        return outcomes

    async def _delete(self, listing: Listing, stored: dict[str, StoredDocument]) -> list[Outcome]:
        gone = [document for document in stored if document not in listing.files and not listing.may_exist(document)]
        for document in gone:
            if not self._dry_run:
                await self._stored.delete(document, stored[document])
        return [Outcome(document, "deleted", len(stored[document].numbers)) for document in gone]

    async def _bring_in_step(self, file: SourceFile, stored: StoredDocument | None, reader: ReaderProcess) -> Outcome:
        content_hash = hashlib.sha256(f"{file.digest} {self._made_by}".encode()).hexdigest()
        if stored is not None and stored.content_hash == content_hash:
            return Outcome(as_text(file.source), "unchanged", len(stored.numbers))
        try:
            document = await reader.read(file.path)
        except InvalidArgument as error:
            left = "; what was stored of it before stays" if stored else ""
            return Outcome(as_text(file.source), "skipped", reason=error.message + left)
        chunks = await asyncio.to_thread(self._chunks, document)
        if not chunks:
            if stored is not None and not self._dry_run:
                await self._stored.delete(file.document, stored)
            return Outcome(as_text(file.source), "empty", len(stored.numbers) if stored else 0)
        title = document.title or as_text(file.path.name)
        records = [self._record(file, title, content_hash, number, chunk) for number, chunk in enumerate(chunks)]
        changed = await self._changed(records, stored)
        if not self._dry_run:
            await self._stored.write(file.document, records, changed, stored)
        return Outcome(as_text(file.source), "changed" if stored else "new", len(records), len(changed))

    def _chunks(self, document: Document) -> list[Chunk]:
        assert self._chunker is not None
        return self._chunker.chunks(document.blocks)

    def _record(self, file: SourceFile, title: str, content_hash: str, number: int, chunk: Chunk) -> Fields:
        """The record of a chunk. Fields without a value are left out."""
        fields = {
            "_id": chunk_id(file.document, number),
            "source": as_text(file.source),
            "title": title[:LONGEST_TITLE],
            "heading": chunk.heading[-LONGEST_HEADING:] or None,
            "page": chunk.page,
            "chunk": number,
            "modified": file.modified,
            "content_hash": None if number else content_hash,
            self._model.text_field: chunk.text,
        }
        return {name: value for name, value in fields.items() if value is not None}

    async def _changed(self, records: list[Fields], stored: StoredDocument | None) -> list[Fields]:
        """The records whose text or place in the document is not stored as it is now."""
        if stored is None:
            return records
        ids = [record["_id"] for record in records if record["chunk"] in stored.numbers]
        before = await self._stored.fields(ids)
        return [record for record in records if _compared(before.get(record["_id"], {})) != _compared(record)]


def _compared(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if name not in ("_id", *CHANGING)}
