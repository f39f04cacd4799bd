"""The forms that add, change and delete a record."""

from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency

from pinyon import decoding
from pinyon.auth import permissions
from pinyon.console import paths
from pinyon.console.page_weight import html_bytes
from pinyon.console.pages import AnyRequest, named_index, page, parameter, redirect
from pinyon.domain import DEFAULT_NAMESPACE, Index
from pinyon.errors import AlreadyExists, FailedPrecondition, InvalidArgument, PinyonError
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.data_plane.record_edits import RecordEdits, version_of
from pinyon.services.data_plane.vectors import RawVector, Vectors

ADD, EDIT, DELETE = (f"{paths.RECORD}/{action}" for action in ("add", "edit", "delete"))
FIELDS_BYTES = 120_000
"""What the fields of a record may take in a form."""
SHOWN_AGAIN = (InvalidArgument, AlreadyExists, FailedPrecondition)
"""Errors after which the form is shown again, with what was typed."""


class SparseValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sparse vector as it is typed."""

    indices: list[int]
    values: list[float]


@get(ADD, operation_id="pinyon_console_add_page")
async def add_page(request: AnyRequest, indexes: NamedDependency[Indexes]) -> Response[str]:
    """A form for a new record."""
    index = named_index(request, indexes)
    permissions.check("write", index.handle)
    return _add_form(request, indexes, index, {"namespace": parameter(request, "namespace")})


@post(ADD, operation_id="pinyon_console_add", status_code=303)
async def add(
    request: AnyRequest, indexes: NamedDependency[Indexes], record_edits: NamedDependency[RecordEdits]
) -> Response[str]:
    """Store a new record."""
    index, typed = named_index(request, indexes), await _typed(request)
    namespace = typed.get("namespace") or DEFAULT_NAMESPACE
    permissions.check("write", index.handle, namespace)
    try:
        fields = _fields(typed.get("fields", ""))
        embed = index.spec.embed
        if embed is not None and typed.get("text"):
            fields = {**fields, embed.text_field: typed["text"]}
        values, sparse = _vector(typed.get("vector", ""))
        await record_edits.add(index, namespace, RawVector(typed.get("id", ""), values, sparse, fields))
    except SHOWN_AGAIN as error:
        return _add_form(request, indexes, index, typed, error)
    return redirect(
        paths.address(paths.RECORD, index=index.name, namespace=namespace, id=typed.get("id", ""), done="added")
    )


def _add_form(
    request: AnyRequest, indexes: Indexes, index: Index, typed: dict[str, str], error: PinyonError | None = None
) -> Response[str]:
    return page(
        request,
        "record_add.html",
        title="Add a record",
        status=400 if error else 200,
        active="browse",
        index=index,
        every_index=indexes.all(),
        typed=typed,
        problem=None if error is None else error.message,
    )


@get(EDIT, operation_id="pinyon_console_edit_page")
async def edit_page(
    request: AnyRequest, indexes: NamedDependency[Indexes], record_edits: NamedDependency[RecordEdits]
) -> Response[str]:
    """A form with the fields of a record."""
    index, namespace = named_index(request, indexes), parameter(request, "namespace") or DEFAULT_NAMESPACE
    permissions.check("write", index.handle, namespace)
    stored = await record_edits.record(index, namespace, parameter(request, "id"))
    text = msgspec.json.format(msgspec.json.encode(stored.metadata), indent=2).decode()
    if html_bytes(text) > FIELDS_BYTES:
        raise InvalidArgument("The fields of this record are too long to be edited in a page; change them over the API")
    return _edit_form(request, indexes, index, namespace, text, version_of(stored.metadata))


@post(EDIT, operation_id="pinyon_console_edit", status_code=303)
async def edit(
    request: AnyRequest, indexes: NamedDependency[Indexes], record_edits: NamedDependency[RecordEdits]
) -> Response[str]:
    """Store the fields of a record."""
    index, namespace = named_index(request, indexes), parameter(request, "namespace") or DEFAULT_NAMESPACE
    permissions.check("write", index.handle, namespace)
    id, typed = parameter(request, "id"), await _typed(request)
    text, seen = typed.get("fields", ""), typed.get("seen", "")
    try:
        await record_edits.change(index, namespace, id, _fields(text), seen)
    except SHOWN_AGAIN as error:
        return _edit_form(request, indexes, index, namespace, text, seen, error)
    return redirect(paths.address(paths.RECORD, index=index.name, namespace=namespace, id=id, done="saved"))


def _edit_form(
    request: AnyRequest,
    indexes: Indexes,
    index: Index,
    namespace: str,
    text: str,
    seen: str,
    error: PinyonError | None = None,
) -> Response[str]:
    return page(
        request,
        "record_edit.html",
        title="Edit a record",
        status=400 if error else 200,
        active="browse",
        index=index,
        every_index=indexes.all(),
        namespace=namespace,
        id=parameter(request, "id"),
        text=text,
        seen=seen,
        problem=None if error is None else error.message,
    )


@get(DELETE, operation_id="pinyon_console_delete_page")
async def delete_page(request: AnyRequest, indexes: NamedDependency[Indexes]) -> Response[str]:
    """Ask whether a record is to be deleted."""
    index, namespace = named_index(request, indexes), parameter(request, "namespace") or DEFAULT_NAMESPACE
    permissions.check("write", index.handle, namespace)
    return page(
        request,
        "record_delete.html",
        title="Delete a record",
        active="browse",
        index=index,
        every_index=indexes.all(),
        namespace=namespace,
        id=parameter(request, "id"),
    )


@post(DELETE, operation_id="pinyon_console_delete", status_code=303)
async def delete(
    request: AnyRequest, indexes: NamedDependency[Indexes], vectors: NamedDependency[Vectors]
) -> Response[str]:
    """Delete a record."""
    index, namespace = named_index(request, indexes), parameter(request, "namespace") or DEFAULT_NAMESPACE
    await vectors.delete(index, namespace, [parameter(request, "id")], None, False)
    return redirect(paths.address(paths.BROWSE, index=index.name, namespace=namespace))


async def _typed(request: AnyRequest) -> dict[str, str]:
    """The fields of a form that are text."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


def _fields(text: str) -> dict[str, Any]:
    """The fields of a record as they were typed. Raises InvalidArgument."""
    try:
        fields = msgspec.json.decode(text) if text.strip() else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f"The fields are no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidArgument('The fields must be a JSON object, such as {"year": 2020}')
    return fields


def _vector(text: str) -> tuple[list[float] | None, tuple[list[int], list[float]] | None]:
    """A dense or a sparse vector as it was typed. Raises InvalidArgument."""
    if not text.strip():
        return None, None
    try:
        typed = decoding.decode(text, list[float] | SparseValues)
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidArgument(
            'The vector must be a JSON list of numbers, or of a sparse vector {"indices": [3], "values": [0.5]}'
        ) from None
    return (typed, None) if isinstance(typed, list) else (None, (typed.indices, typed.values))


handlers = [add_page, add, edit_page, edit, delete_page, delete]
