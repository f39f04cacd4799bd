"""Compares a copy with its snapshot: every index, every namespace, and every record to the last bit."""

from typing import Any

from pinyon.cli.transfer.installations.job import Tell
from pinyon.cli.transfer.installations.snapshots import Snapshot
from pinyon.domain import NamespaceInfo, PagePlan, Record, SparseVector
from pinyon.errors import FailedPrecondition
from pinyon.storage.engine import Engine

PAGE = 1_000
"""Records that are compared at a time."""


async def verify(snapshot: Snapshot, target: Engine, names: list[str], total: int, tell: Tell) -> None:
    """Raises FailedPrecondition with the first difference. names: of the indexes. total: how many records there are."""
    compared = 0
    for name in names:
        source = await snapshot.index(name)
        copy = target.index(name)
        _compare(f"Index {name}", (source.index.spec, source.index.details), (copy.spec, copy.details))
        namespaces, copied = await snapshot.namespaces(name), await target.every_namespace(name)
        _compare(f"Index {name}", [each.name for each in namespaces], [each.name for each in copied])
        if any(each.record_count for each in namespaces):
            _compare(f"What embedded index {name}", source.embedded_by, await target.fingerprint(name))
        for namespace, other in zip(namespaces, copied, strict=True):
            _compare(f"Namespace '{namespace.name}' of index {name}", namespace, other)
            await _compare_records(snapshot, target, name, namespace, compared, total, tell)
            compared += namespace.record_count


async def _compare_records(
    snapshot: Snapshot, target: Engine, index: str, namespace: NamespaceInfo, before: int, total: int, tell: Tell
) -> None:
    where = f"of namespace '{namespace.name}' of index {index}"
    after, compared, more = "", before, True
    while more:
        plan = PagePlan(PAGE, after=after, complete=True)
        page = await snapshot.page(index, namespace.name, plan)
        copy = await target.page(index, namespace.name, plan)
        for record, other in zip(page.records, copy.records, strict=False):
            _compare(f"Record '{record.id}' {where}", content(record), content(other))
        _compare(f"The number of records {where}", (len(page.records), page.more), (len(copy.records), copy.more))
        compared += len(page.records)
        tell(compared, total)
        after, more = page.records[-1].id if page.records else "", page.more


def _compare(what: str, source: Any, target: Any) -> None:
    if source != target:
        raise FailedPrecondition(
            f"{what} is not the same in the source and in the copy. Perhaps somebody wrote to the target meanwhile"
        )


def content(record: Record) -> tuple[Any, ...]:
    """Everything that is stored with a record, in a form that can be compared bit by bit."""
    vector = None if record.vector is None else record.vector.tobytes()
    return (
        record.id,
        record.metadata_json,
        vector,
        _bits(record.sparse),
        record.truncated,
        record.foreign,
        _bits(record.learned),
        record.token_codes,
    )


def _bits(vector: SparseVector | None) -> tuple[bytes, bytes] | None:
    return None if vector is None else (vector.indices.tobytes(), vector.values.tobytes())
