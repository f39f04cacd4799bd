"""The judgements service: marks records as good or bad for a query."""

from typing import Literal

import msgspec

from pinyon.auth import permissions
from pinyon.concurrency.conflicts import until_no_conflict
from pinyon.concurrency.locks import NamedLocks
from pinyon.domain import Index
from pinyon.errors import FailedPrecondition, InvalidArgument
from pinyon.services.data_plane import validation
from pinyon.services.judgements import files
from pinyon.services.judgements.files import BAD, GOOD, JudgedQuery
from pinyon.services.judgements.stores import JudgementStore
from pinyon.settings import LimitSettings

Mark = Literal["good", "bad", "none"]
GRADES: dict[Mark, int | None] = {"good": GOOD, "bad": BAD, "none": None}
MOST_QUERIES, MOST_RECORDS = 2_000, 1_000
"""Judged queries of a namespace, and judged records of a query."""
LONGEST_QUERY = 10_000
"""Characters."""


class Judgements:
    """Judgements of every namespace. Call from the event-loop thread only.

    Whoever reads them needs a key that may read the namespace; whoever changes them, one that may also write. They are
    kept by the names of index and namespace, and stay when these are deleted.
    """

    def __init__(self, store: JudgementStore, limits: LimitSettings, read_only: bool = False) -> None:
        self._store, self._limits, self._read_only = store, limits, read_only
        self._locks = NamedLocks()

    async def all(self, index: Index, namespace: str) -> dict[str, JudgedQuery]:
        """The judged queries of a namespace by id, oldest first. Raises InvalidArgument if a file is malformed."""
        permissions.check("read", index.handle, namespace)
        return (await self._store.read(index.name, namespace))[0]

    async def of_query(self, index: Index, namespace: str, text: str) -> dict[str, int]:
        """The grades of records for a query, by id."""
        query = (await self.all(index, namespace)).get(files.query_id(text))
        return {} if query is None else query.grades

    async def mark(self, index: Index, namespace: str, text: str, id: str, mark: Mark) -> None:
        """Mark a record for a query. "none" removes its judgement; a query without judgements is no judged query.

        Raises InvalidArgument, or FailedPrecondition if the data folder is read only or has no room for more.
        """
        name = validation.namespace_name(namespace, self._limits)
        permissions.check("write", index.handle, name)
        validation.record_id(id, "The judgement", self._limits)
        self._check(text, id)

        async def change() -> None:
            queries, version = await self._store.read(index.name, name)
            key = files.query_id(text)
            query = queries.get(key, JudgedQuery(key, text, {}))
            grade, grades = GRADES[mark], {other: grade for other, grade in query.grades.items() if other != id}
            if grade is not None:
                grades[id] = grade
            if not grades:
                queries.pop(key, None)
            else:
                queries[key] = msgspec.structs.replace(query, grades=grades)
            if len(queries) > MOST_QUERIES or len(grades) > MOST_RECORDS:
                raise FailedPrecondition(
                    f"A namespace has at most {MOST_QUERIES:,} judged queries with {MOST_RECORDS:,} records each; "
                    "export them, then remove some"
                )
            await self._store.write(index.name, name, queries, version)

        async with self._locks.of(f"{index.name}/{name}"):
            await until_no_conflict(change)

    def _check(self, text: str, id: str) -> None:
        if self._read_only:
            raise FailedPrecondition("This server only reads its data; judgements are stored there")
        if not text.strip():
            raise InvalidArgument("A judgement needs the text of the query")
        if len(text) > LONGEST_QUERY:
            raise InvalidArgument(f"The query has {len(text):,} characters; judged ones have at most {LONGEST_QUERY:,}")
        if set(id) & set("\t\r\n"):
            raise InvalidArgument("The id has a tab or a line break, which the layout of judgements cannot hold")
