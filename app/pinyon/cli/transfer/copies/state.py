"""How far a copy is."""

import hashlib
from pathlib import Path

import msgspec

from pinyon.cli.transfer.state_file import StateFile, check_options, usual_path


class CopyPlan(msgspec.Struct, frozen=True):
    """What is copied. namespace: None for all. renamed: new names of fields, by the old ones.

    overwrite: whether the namespaces of the target may have records.
    """

    source: str
    target: str
    namespace: str | None = None
    reembed: bool = False
    renamed: dict[str, str] = {}
    overwrite: bool = False


class NamespaceProgress(msgspec.Struct):
    """How far a namespace is. token: of the first page that is not copied; None before the first page and at the end.

    had: records that the target had before.
    """

    had: int = 0
    copied: int = 0
    token: str | None = None
    is_done: bool = False


class SampledRecord(msgspec.Struct, frozen=True, order=True):
    """A record that is compared at the end. place: SHA-256 of the rest, in hexadecimal."""

    place: str
    namespace: str
    id: str


class Sample(msgspec.Struct):
    """The `most` records with the smallest hashes: a random sample that does not depend on the order of the records."""

    most: int
    records: list[SampledRecord] = []

    def offer(self, namespace: str, ids: list[str]) -> None:
        """Add those of the records that belong to the sample."""
        new = {SampledRecord(_place(namespace, id), namespace, id) for id in ids}
        self.records = sorted(new.union(self.records))[: self.most]


def _place(namespace: str, id: str) -> str:
    return hashlib.sha256(f"{namespace}\0{id}".encode()).hexdigest()


class CopyState(msgspec.Struct):
    """A copy that has begun."""

    plan: CopyPlan
    sample: Sample
    namespaces: dict[str, NamespaceProgress] = {}

    @property
    def copied(self) -> int:
        """Records that were copied."""
        return sum(progress.copied for progress in self.namespaces.values())


def state_file(plan: CopyPlan, path: Path | None) -> StateFile[CopyState]:
    """The file of a copy. path: None for the usual one of its source, target and namespace."""
    return StateFile(path or usual_path("", plan.source, plan.target, plan.namespace), CopyState)


def interrupted(file: StateFile[CopyState], plan: CopyPlan) -> CopyState:
    """The state of the copy to go on with. Raises FailedPrecondition if there is none, or one of another plan."""
    state = file.read(plan.source, plan.target)
    wanted, begun = msgspec.structs.asdict(plan), msgspec.structs.asdict(state.plan)
    check_options({name: value for name, value in wanted.items() if name != "overwrite"}, begun)
    return state
