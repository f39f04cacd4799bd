"""Reads an index as it is at one moment: from a backup, which is deleted afterwards."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np

from pinyon import decoding
from pinyon.cli.client.api import Api
from pinyon.domain import SparseVector
from pinyon.errors import FailedPrecondition, NotFound
from pinyon.formats.rows import Row

POLL_S = 0.2


class _Sparse(msgspec.Struct):
    indices: list[int]
    values: list[float]


class _Record(msgspec.Struct):
    id: str
    metadata: dict[str, Any] = {}
    values: list[float] | None = None
    sparse_values: _Sparse | None = None


class _Pagination(msgspec.Struct):
    next: str


class _Page(msgspec.Struct):
    records: list[_Record]
    pagination: _Pagination | None = None


class BackupReader:
    """Takes, reads and deletes the backups of a server. Methods raise what Api.ask() raises."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def take(self, index: str, name: str) -> tuple[str, str]:
        """Take a backup with this name. Returns its id and its time (RFC 3339). Raises FailedPrecondition if it fails.

        One that has the name already is used: whoever took it was killed before it knew the id.
        """
        path = f"/indexes/{quote(index, safe='')}/backups"
        backup = await self._named(path, name)
        if backup is None:
            backup = await self._api.ask("POST", path, {"name": name}, repeat=False)
        while backup["status"] not in ("Ready", "Failed"):
            await asyncio.sleep(POLL_S)
            backup = await self._api.ask("GET", f"/backups/{backup['backup_id']}")
        if backup["status"] == "Failed":
            raise FailedPrecondition(f"The backup to export from failed: {backup.get('error', 'no reason was given')}")
        return backup["backup_id"], backup["created_at"]

    async def _named(self, path: str, name: str) -> dict[str, Any] | None:
        token = ""
        while True:
            page = await self._api.ask("GET", f"{path}?limit=100&paginationToken={token}")
            for backup in page["data"]:
                if backup["name"] == name and backup["status"] != "Failed":
                    named: dict[str, Any] = backup
                    return named
            if "pagination" not in page:
                return None
            token = quote(page["pagination"]["next"], safe="")

    async def namespaces(self, backup: str) -> dict[str, int]:
        """The namespaces of a backup in the order of their names, and how many records they have. Raises NotFound."""
        told = await self._api.ask("GET", f"/backups/{backup}/namespaces")
        return {each["name"]: each["record_count"] for each in told["namespaces"]}

    async def pages(
        self, backup: str, namespace: str, filter: Any, values: bool, token: str | None, limit: int
    ) -> AsyncIterator[tuple[list[Row], str | None]]:
        """The records of a namespace, page by page, each with the token of the next one.

        filter: decoded JSON, or None. token: of the first page, if it is not the beginning. limit: records
        of a page.
        """
        body = {"namespace": namespace, "filter": filter, "include_values": values, "limit": limit}
        number = 0
        while True:
            asked = msgspec.json.encode({**body, "pagination_token": token})
            answer = await self._api.send("POST", f"/backups/{backup}/records", asked)
            page = decoding.decode(answer.body, _Page)
            rows = [_row(number + place, record) for place, record in enumerate(page.records, start=1)]
            number += len(rows)
            token = None if page.pagination is None else page.pagination.next
            yield rows, token
            if token is None:
                return

    async def delete(self, backup: str) -> None:
        """Delete a backup. One that is gone is no error."""
        try:
            await self._api.ask("DELETE", f"/backups/{backup}")
        except NotFound:
            return


def _sparse_vector(sparse: _Sparse) -> SparseVector:
    return SparseVector(np.array(sparse.indices, np.uint32), np.array(sparse.values, np.float32))


def _row(number: int, record: _Record) -> Row:
    sparse = record.sparse_values
    return Row(
        number,
        record.id,
        None if record.values is None else np.array(record.values, np.float32),
        None if sparse is None else _sparse_vector(sparse),
        record.metadata,
    )
