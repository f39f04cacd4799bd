"""The uploads service: one file that a person brings, shown as it will be read, then imported as a job."""

import asyncio
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np

from pinyon.auth import permissions
from pinyon.documents import reading
from pinyon.documents.chunking import Chunk, Chunker
from pinyon.documents.reader_process import ReaderProcess
from pinyon.documents.record_ids import chunk_id, document_id
from pinyon.domain import DEFAULT_NAMESPACE, Index
from pinyon.errors import FailedPrecondition, InvalidArgument, NotFound
from pinyon.formats import delimited, files
from pinyon.formats.folders import folder_of
from pinyon.formats.layout import IDS, Columns
from pinyon.formats.rows import Format, Row, format_of
from pinyon.services.imports import upload_files
from pinyon.services.imports.imports import Imports
from pinyon.services.imports.upload_files import CONTENT, READY, UPLOAD, UploadLabel
from pinyon.services.imports.upload_mirror import UploadMirror
from pinyon.services.inference.inference import Inference

SHOWN = 5
"""Rows or chunks that a preview has."""
COUNTED = 1_000
"""Texts of one count of tokens."""
TEXTS = ("text", "content", "body", "chunk_text", "passage")
"""Names of columns that are taken for the text if none has the name of the field that the index embeds."""
ENDINGS = ".csv, .tsv, .jsonl, .ndjson, .md, .html, .txt, .rst, .pdf, .docx"


class Preview(msgspec.Struct, frozen=True):
    """How a file will be read. columns: new names by the names in the file; empty for a document.

    rows: ids and fields of the first records. chunks: of a document, in all. problem: why it cannot be read so.
    """

    name: str
    namespace: str
    columns: dict[str, str]
    id_column: str
    rows: list[tuple[str, dict[str, Any]]]
    chunks: int = 0
    problem: str = ""


class Uploads:
    """Every operation on uploads. mirror: where they are kept."""

    def __init__(self, imports: Imports, inference: Inference, mirror: UploadMirror) -> None:
        self._imports, self._inference = imports, inference
        self._mirror, self._data_dir = mirror, mirror.data_dir

    def check(self, index: Index) -> None:
        """Raises PermissionDenied unless the caller may import into this index."""
        permissions.check("write", index.handle)
        permissions.check_whole(index.handle)

    async def keep(self, index: Index, namespace: str, name: str, content: bytes) -> str:
        """Keep a file. Returns the id of the upload. Raises InvalidArgument if nothing reads such files."""
        self.check(index)
        name = Path(name.replace("\\", "/")).name[:200]
        if not content:
            raise InvalidArgument("Choose a file that is not empty")
        if format_of(name) not in ("csv", "tsv", "jsonl") and not reading.is_document(Path(name)):
            raise InvalidArgument(f"Nothing here reads '{name[-60:]}'; expected: a name that ends in {ENDINGS}")
        folder_of(namespace or DEFAULT_NAMESPACE)  # raises for a name that is too long
        label = UploadLabel(name, namespace or DEFAULT_NAMESPACE, index.handle.id)
        id = await asyncio.to_thread(upload_files.keep, self._data_dir, label, content)
        await self._mirror.push(id)
        return id

    async def preview(self, index: Index, id: str) -> Preview:
        """How an upload will be read without a change. Raises NotFound, FailedPrecondition or InvalidArgument."""
        label, path = await self._label(index, id)
        format = format_of(label.name)
        if format is None:
            chunks = await self._chunks(index, path)
            rows = [(row.id, row.fields) for row in self._chunk_rows(index, label, chunks[:SHOWN])]
            return Preview(label.name, label.namespace, {}, "", rows, len(chunks))
        columns = await asyncio.to_thread(_columns, path, label.name, format)
        id_column = next((name for name in IDS if name in columns), columns[0])
        new = {name: name for name in columns if name != id_column}
        embed = index.spec.embed
        if embed is not None and embed.text_field not in new:
            text = next((name for name in TEXTS if name in new), None)
            new |= {} if text is None else {text: embed.text_field}
        try:
            first = next(_rows(path, label.name, format, id_column, new, SHOWN), [])
        except InvalidArgument as error:
            return Preview(label.name, label.namespace, new, id_column, [], problem=error.message)
        return Preview(label.name, label.namespace, new, id_column, [(row.id, _shown(row)) for row in first])

    async def start(self, index: Index, id: str, id_column: str, names: Mapping[str, str]) -> str:
        """Begin to import an upload. Returns the id of the import.

        id_column, names: of a table; new names of its columns by those in the file, "" to leave one out. Raises
        InvalidArgument if the file cannot be read so; then nothing is imported.
        """
        label, path = await self._label(index, id)
        format = format_of(label.name)
        rows = path.parent / READY / folder_of(label.namespace)
        if rows.exists():
            raise FailedPrecondition("This upload is being imported already, or was; upload the file again")
        if format is None:
            batches = iter([self._chunk_rows(index, label, await self._chunks(index, path))])
        else:
            batches = _rows(path, label.name, format, id_column, names, files.BATCH_ROWS)
        await asyncio.to_thread(_write, rows, batches)
        await self._mirror.push(id)
        return await self._imports.start_upload(index, f"{UPLOAD}{id}/{quote(label.name)}")

    async def _label(self, index: Index, id: str) -> tuple[UploadLabel, Path]:
        self.check(index)
        await self._mirror.pull(id)
        label = upload_files.label(self._data_dir, id)
        if label.index_id != index.handle.id:
            raise NotFound(f"There is no such upload for index {index.name}")
        folder = upload_files.folder(self._data_dir, id)
        return label, folder / (CONTENT + upload_files.ending(label.name))

    async def _chunks(self, index: Index, path: Path) -> list[Chunk]:
        """The chunks of a document, each of which the model of the index reads whole."""
        embed = index.spec.embed
        if embed is None or index.spec.sparse:
            raise FailedPrecondition(f"Index {index.name} has no dense embedding model, which documents need")
        parameters = {"input_type": embed.write_input_type}
        most = (await self._inference.count_tokens(embed.model, ["a"], parameters)).max_tokens
        loop = asyncio.get_running_loop()

        def count(texts: Sequence[str]) -> list[int]:
            tokens: list[int] = []
            for begin in range(0, len(texts), COUNTED):
                asked = self._inference.count_tokens(embed.model, texts[begin : begin + COUNTED], parameters)
                tokens += asyncio.run_coroutine_threadsafe(asked, loop).result().tokens
            return tokens

        async with ReaderProcess() as reader:
            document = await reader.read(path)
        return await asyncio.to_thread(lambda: Chunker(count, most).chunks(document.blocks))

    def _chunk_rows(self, index: Index, label: UploadLabel, chunks: Sequence[Chunk]) -> list[Row]:
        assert index.spec.embed is not None
        rows = []
        for number, chunk in enumerate(chunks):
            fields = {"source": label.name, "chunk": number, "heading": chunk.heading, "page": chunk.page}
            fields = {name: value for name, value in fields.items() if value not in (None, "")}
            fields |= {index.spec.embed.text_field: chunk.text}
            rows.append(Row(number + 1, chunk_id(document_id(label.name), number), fields=fields))
        return rows


def _columns(path: Path, name: str, format: Format) -> list[str]:
    """The names of the columns of a table. Raises InvalidArgument."""
    with path.open("rb") as stream:
        if format in files.DELIMITERS:
            return delimited.header(stream, name, files.DELIMITERS[format])
        try:
            first = msgspec.json.decode(stream.readline())
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidArgument(f"{name}: the first line is no JSON: {error}") from None
    if not isinstance(first, dict) or not first:
        raise InvalidArgument(f"{name}: the first line is no JSON object with names")
    return list(first)


def _rows(
    path: Path, name: str, format: Format, id_column: str, names: Mapping[str, str], most: int
) -> Iterator[list[Row]]:
    """The rows of a table in batches. Raises InvalidArgument at the first row that is wrong."""
    renamed = {column: new for column, new in names.items() if new and new != column}
    left_out = {column for column, new in names.items() if not new}
    with path.open("rb") as stream:
        for batch in files.batches(stream, name, format, Columns(id_column, renamed), most=most):
            if batch.problems:
                raise InvalidArgument(str(batch.problems[0]))
            yield [
                msgspec.structs.replace(
                    row, fields={field: value for field, value in row.fields.items() if field not in left_out}
                )
                for row in batch.rows
            ]


def _write(folder: Path, batches: Iterator[list[Row]]) -> None:
    """Write rows as a file that imports read. All of them, or none."""
    content = io.BytesIO()
    writer = files.writer(content, "jsonl")
    for rows in batches:
        writer.write(rows)
    writer.close()
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_bytes(content.getbuffer())


def _shown(row: Row) -> dict[str, Any]:
    """The fields of a row for a preview, its vector among them."""
    vector = (
        {} if row.values is None else {"values": f"{len(row.values)} numbers, norm {np.linalg.norm(row.values):.4g}"}
    )
    return {**row.fields, **vector}
