"""How far a copy of an installation is."""

from pathlib import Path

import msgspec

from pinyon.cli.transfer.state_file import StateFile, check_options, usual_path


class IndexProgress(msgspec.Struct):
    """How far an index is. backup: of the source, if that is a database. has_begun: the target has or gets the index.

    namespace, after: the last copied record. copied: how many records were copied.
    """

    backup: str = ""
    has_begun: bool = False
    namespace: str = ""
    after: str = ""
    copied: int = 0


class CopyState(msgspec.Struct):
    """A copy that has begun. source, target: where the data are, in words. index: None for all.

    folder: the copy of the source, if that is a data folder. indexes: None until it is known what there is to copy.
    is_verified: whether only the snapshot of the source is left to be removed. keys: SHA-256 of the API keys that were
    copied.
    """

    source: str
    target: str
    index: str | None
    folder: str = ""
    indexes: dict[str, IndexProgress] | None = None
    is_verified: bool = False
    keys: list[str] = []

    @property
    def has_begun(self) -> bool:
        """Whether the target has or gets an index."""
        return any(progress.has_begun for progress in (self.indexes or {}).values())

    @property
    def copied(self) -> int:
        """Records that were copied."""
        return sum(progress.copied for progress in (self.indexes or {}).values())


def state_file(state: CopyState, path: Path | None) -> StateFile[CopyState]:
    """The file of a copy. path: None for the usual one of its source, target and index."""
    return StateFile(path or usual_path("installation-", state.source, state.target, state.index), CopyState)


def interrupted(file: StateFile[CopyState], wanted: CopyState) -> CopyState:
    """The state of the copy to go on with. Raises FailedPrecondition if there is none, or one of something else."""
    state = file.read(wanted.source, wanted.target)
    check_options(
        {name: getattr(wanted, name) for name in ("source", "target", "index")}, msgspec.structs.asdict(state)
    )
    return state
