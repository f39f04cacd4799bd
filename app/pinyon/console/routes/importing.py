"""The import page: choose a file, see how it will be read, start, and watch the progress."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency

from pinyon.auth.permissions import GRANT
from pinyon.console import paths
from pinyon.console.page_weight import first_within, html_bytes
from pinyon.console.pages import AnyRequest, chosen_index, named_index, page, parameter, redirect
from pinyon.console.routes.browse import cell
from pinyon.domain import Index
from pinyon.errors import FailedPrecondition, InvalidArgument, PinyonError
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.imports.imports import Imports
from pinyon.services.imports.upload_files import MOST_UPLOAD
from pinyon.services.imports.uploads import ENDINGS, Uploads

FILE, CANCEL = f"{paths.IMPORT}/file", f"{paths.IMPORT}/cancel"
COLUMN = "column:"
"""Before the name of a column in the name of its field of the form."""
MOST_IMPORTS = 50
"""Imports of a page, the newest first."""
COLUMNS_BYTES, COLUMN_BYTES, ROWS_BYTES = 60_000, 200, 30_000
"""What columns may take on a page together, what one takes beside its names, and what rows may take together."""


@get(paths.IMPORT, operation_id="pinyon_console_import_page")
async def import_page(
    request: AnyRequest,
    indexes: NamedDependency[Indexes],
    imports: NamedDependency[Imports],
    uploads: NamedDependency[Uploads],
) -> Response[str]:
    """Choose a file, and see the imports that run or have run."""
    index = chosen_index(request, indexes)
    if index is not None:
        uploads.check(index)
    return await _page(request, indexes, imports, index)


@post(paths.IMPORT, operation_id="pinyon_console_upload", status_code=303)
async def upload(
    request: AnyRequest,
    indexes: NamedDependency[Indexes],
    imports: NamedDependency[Imports],
    uploads: NamedDependency[Uploads],
) -> Response[str]:
    """Keep a file, and go to its preview."""
    index = named_index(request, indexes)
    uploads.check(index)
    form = await request.form()
    file = form.get("file")
    try:
        if not isinstance(file, UploadFile):
            raise InvalidArgument("Choose a file")
        id = await uploads.keep(index, str(form.get("namespace", "")).strip(), file.filename, await file.read())
    except InvalidArgument as error:
        return await _page(request, indexes, imports, index, error)
    return redirect(paths.address(FILE, index=index.name, id=id))


async def _page(
    request: AnyRequest, indexes: Indexes, imports: Imports, index: Index | None, error: PinyonError | None = None
) -> Response[str]:
    states = []
    if index is not None and "read" in GRANT.get().scopes:
        states = (await imports.all(index))[::-1][:MOST_IMPORTS]
    return page(
        request,
        "import.html",
        title="Import",
        status=400 if error else 200,
        active="import",
        index=index,
        every_index=indexes.all(),
        most=MOST_UPLOAD // 2**20,
        endings=ENDINGS,
        states=states,
        problem=None if error is None else error.message,
    )


@get(FILE, operation_id="pinyon_console_preview")
async def preview_page(
    request: AnyRequest, indexes: NamedDependency[Indexes], uploads: NamedDependency[Uploads]
) -> Response[str]:
    """How the file will be read."""
    return await _preview(request, indexes, uploads, named_index(request, indexes))


@post(FILE, operation_id="pinyon_console_start_import", status_code=303)
async def start(
    request: AnyRequest, indexes: NamedDependency[Indexes], uploads: NamedDependency[Uploads]
) -> Response[str]:
    """Start the import."""
    index, form = named_index(request, indexes), await request.form()
    names = {key.removeprefix(COLUMN): str(value).strip() for key, value in form.items() if key.startswith(COLUMN)}
    try:
        await uploads.start(index, parameter(request, "id"), str(form.get("id_column", "")), names)
    except (InvalidArgument, FailedPrecondition) as error:
        return await _preview(request, indexes, uploads, index, error)
    return redirect(paths.address(paths.IMPORT, index=index.name))


@post(CANCEL, operation_id="pinyon_console_cancel_import", status_code=303)
async def cancel(
    request: AnyRequest, indexes: NamedDependency[Indexes], imports: NamedDependency[Imports]
) -> Response[str]:
    """Stop an import. What it has stored stays."""
    index = named_index(request, indexes)
    await imports.cancel(index, parameter(request, "id"))
    return redirect(paths.address(paths.IMPORT, index=index.name))


async def _preview(
    request: AnyRequest, indexes: Indexes, uploads: Uploads, index: Index, error: PinyonError | None = None
) -> Response[str]:
    preview = await uploads.preview(index, parameter(request, "id"))
    problem = preview.problem if error is None else error.message
    # A name stands in a choice of ids, as a label, and in the name and the value of a field.
    if sum(COLUMN_BYTES + 5 * html_bytes(name) for name in preview.columns) > COLUMNS_BYTES:
        raise InvalidArgument(
            f"The file has {len(preview.columns):,} columns, for which a page has no room; `pinyon import` reads it"
        )
    room = ROWS_BYTES // max(1, len(preview.rows))
    rows = [(id, _within(fields, room)) for id, fields in preview.rows]
    return page(
        request,
        "import_file.html",
        title=f"Import {preview.name}",
        status=400 if error else 200,
        active="import",
        index=index,
        every_index=indexes.all(),
        preview=preview,
        rows=rows,
        prefix=COLUMN,
        upload=parameter(request, "id"),
        problem=problem,
    )


def _within(fields: Mapping[str, Any], room: int) -> list[tuple[str, str]]:
    """The first fields of a row, as far as they take at most `room` bytes of a page."""
    shown = [(name, cell(value, 300)) for name, value in fields.items()]
    return first_within(shown, room, lambda pair: COLUMN_BYTES + html_bytes("".join(pair)))


handlers = [import_page, upload, preview_page, start, cancel]
