"""How far a copy is: a small file from which an interrupted copy goes on."""

import hashlib
from pathlib import Path

import msgspec

from pinyon import decoding
from pinyon.errors import FailedPrecondition
from pinyon.files import replace_json


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


class StateFile:
    """Where the state of a copy is stored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, plan: CopyPlan) -> "StateFile":
        """The usual file of this source, target and namespace, in the folder where programs keep their state."""
        from platformdirs import user_state_path

        what = "\n".join((plan.source, plan.target, plan.namespace or "")).encode()
        return cls(user_state_path("pinyon") / "copies" / f"{hashlib.sha256(what).hexdigest()[:16]}.json")

    def exists(self) -> bool:
        """Whether the copy was interrupted."""
        return self.path.exists()

    def read(self, plan: CopyPlan) -> CopyState:
        """The state. Raises FailedPrecondition if the file is none, or is of another plan."""
        try:
            state = decoding.decode(self.path.read_bytes(), CopyState)
        except FileNotFoundError:
            raise FailedPrecondition(
                f"There is no interrupted copy from {plan.source} to {plan.target} to go on with ({self.path} is not "
                "there); leave --resume out"
            ) from None
        except (OSError, msgspec.MsgspecError) as error:
            raise FailedPrecondition(f"{self.path} cannot be read, so the copy cannot go on: {error}") from error
        mine, other = msgspec.structs.asdict(plan), msgspec.structs.asdict(state.plan)
        different = [name for name in mine if name != "overwrite" and mine[name] != other[name]]
        if different:
            name = different[0]
            raise FailedPrecondition(
                f"The interrupted copy had another {name}: {other[name]}, not {mine[name]}; with --resume, give the "
                "same options again"
            )
        return state

    def write(self, state: CopyState) -> None:
        """Store the state, as a whole. Raises FailedPrecondition if the disk refuses."""
        try:
            replace_json(self.path, state)
        except OSError as error:
            raise FailedPrecondition(f"{self.path} cannot be written: {error.strerror or error}") from error

    def remove(self) -> None:
        """The copy has ended."""
        self.path.unlink(missing_ok=True)
