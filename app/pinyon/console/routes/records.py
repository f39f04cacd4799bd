"""The page of one record: its fields, what its vector is, and how much of its text the model has read."""

from typing import Any

import msgspec
import numpy as np
from litestar import Response, get
from litestar.di import NamedDependency

from pinyon.auth import permissions
from pinyon.auth.permissions import GRANT
from pinyon.console import paths
from pinyon.console.page_weight import first_within, html_bytes, shortened
from pinyon.console.pages import AnyRequest, named_index, page, parameter
from pinyon.console.routes.browse import cell
from pinyon.domain import DEFAULT_NAMESPACE, Index, Record
from pinyon.errors import PinyonError
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.data_plane.record_edits import RecordEdits
from pinyon.services.inference.inference import Inference

LONGEST_VALUE, NUMBERS = 20_000, 8
"""Characters of a field that are shown, and numbers of a vector."""
FIELDS_BYTES = 100_000
"""What all fields may take on a page."""
NOTICES = {"added": "The record was added.", "saved": "The record was saved."}


class TokensRead(msgspec.Struct, frozen=True):
    """How much of a text a model reads: `read` of `all` tokens. problem: why that is not known."""

    read: int = 0
    all: int = 0
    model: str = ""
    problem: str = ""


@get(paths.RECORD, operation_id="pinyon_console_record")
async def record(
    request: AnyRequest,
    indexes: NamedDependency[Indexes],
    record_edits: NamedDependency[RecordEdits],
    inference: NamedDependency[Inference],
) -> Response[str]:
    """One record."""
    permissions.check("read")
    index = named_index(request, indexes)
    namespace = parameter(request, "namespace") or DEFAULT_NAMESPACE
    stored = await record_edits.record(index, namespace, parameter(request, "id"))
    every = [
        (name, shortened(cell(value, LONGEST_VALUE), FIELDS_BYTES // 2)) for name, value in stored.metadata.items()
    ]
    fields = first_within(every, FIELDS_BYTES, lambda pair: html_bytes("".join(pair)))
    return page(
        request,
        "record.html",
        title=f"Record {cell(stored.id)}",
        active="browse",
        index=index,
        every_index=indexes.all(),
        namespace=namespace,
        id=stored.id,
        fields=fields,
        more_fields=len(stored.metadata) - len(fields),
        vector=_vector(stored),
        terms=None if stored.sparse is None else len(stored.sparse.indices),
        tokens=await _tokens_read(index, stored, inference),
        may_write="write" in GRANT.get().scopes,
        notice=NOTICES.get(parameter(request, "done")),
    )


def _vector(stored: Record) -> dict[str, Any] | None:
    """The length, the norm and the first numbers of the dense vector."""
    if stored.vector is None:
        return None
    norm = float(np.linalg.norm(stored.vector.astype(np.float64)))
    first = ", ".join(f"{value:.4g}" for value in stored.vector[:NUMBERS])
    return {"dimension": len(stored.vector), "norm": f"{norm:.6g}", "first": first}


async def _tokens_read(index: Index, stored: Record, inference: Inference) -> TokensRead | None:
    """What the model of the index reads of the record's text. None if the index or the record has none."""
    embed = index.spec.embed
    text = None if embed is None else stored.metadata.get(embed.text_field)
    if embed is None or index.spec.sparse or not isinstance(text, str):
        return None
    try:
        counts = await inference.count_tokens(embed.model, [text], {"input_type": embed.write_input_type})
    except PinyonError as error:
        return TokensRead(problem=error.message)
    return TokensRead(min(counts.tokens[0], counts.max_tokens), counts.tokens[0], counts.label)


handlers = [record]
