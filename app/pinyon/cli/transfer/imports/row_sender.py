"""Sends rows to an index. If a request is refused, it finds out which rows are to blame, and stores the others."""

from typing import Protocol
from urllib.parse import quote

import msgspec

from pinyon import decoding
from pinyon.cli.client.api import REFUSES, Address, Api
from pinyon.cli.client.transport import JSON, NDJSON
from pinyon.cli.transfer.imports.requests import Kind, Request, body, content_of
from pinyon.errors import InvalidArgument, NotFound
from pinyon.formats.rows import Row, RowProblem

CONTENT: dict[Kind, str] = {"vectors": JSON, "texts": NDJSON}
CHECKS: dict[Kind, str] = {"vectors": "/vectors/check", "texts": "/records/check"}


class _Refused(msgspec.Struct):
    position: int
    message: str


class _Checked(msgspec.Struct):
    refused: list[_Refused]


class Sender(Protocol):
    """What is done with the rows of a request."""

    async def send(self, request: Request) -> list[RowProblem]:
        """Do it. Returns the rows that were refused. Raises PinyonError if no row is to blame."""
        ...


class RowChecker:
    """A Sender that stores nothing. index: where the index answers."""

    def __init__(self, api: Api, index: Address) -> None:
        self._api, self._index = api, index

    async def send(self, request: Request) -> list[RowProblem]:
        path, content = CHECKS[request.kind], body(request.kind, request.namespace, request.rows)
        answer = await self._api.send("POST", path, content, CONTENT[request.kind], self._index)
        refused = decoding.decode(answer.body, _Checked).refused
        return [problem(request, request.rows[each.position], each.message) for each in refused]


class RowSender:
    """A Sender that stores the rows."""

    def __init__(self, api: Api, index: Address) -> None:
        self._api, self._index = api, index
        self._checker = RowChecker(api, index)

    async def send(self, request: Request) -> list[RowProblem]:
        try:
            await self._upsert(request)
        except InvalidArgument as error:
            rows = request.rows
            if len(rows) == 1:
                return [problem(request, rows[0], error.message.removeprefix(REFUSES))]
            try:
                problems = await self._checker.send(request)
            except (InvalidArgument, NotFound):  # the check refuses this request too, or the server has none
                problems = []
            if problems:
                wrong = {each.row for each in problems}
                rest = [[row for row in rows if row.number not in wrong]]
            else:
                rest = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
            for part in rest:
                if part:
                    problems += await self.send(msgspec.structs.replace(request, rows=part))
            return problems
        return []

    async def _upsert(self, request: Request) -> None:
        path = "/vectors/upsert"
        if request.kind == "texts":
            path = f"/records/namespaces/{quote(request.namespace, safe='')}/upsert"
        content = body(request.kind, request.namespace, request.rows)
        await self._api.send("POST", path, content, CONTENT[request.kind], self._index)


def problem(request: Request, row: Row, message: str) -> RowProblem:
    """A row that the server refuses."""
    return RowProblem(request.file, row.number, message, content=content_of(row))
