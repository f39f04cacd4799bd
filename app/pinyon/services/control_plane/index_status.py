"""Reports the state of all indexes at once, for readiness, measured recall and the banner."""

from collections.abc import Callable

from pinyon.auth import permissions
from pinyon.domain import RecallSample
from pinyon.services.control_plane.indexes import Indexes
from pinyon.storage.engine import Engine


class IndexStatus:
    """What the indexes wait for, which cannot be used, and how good approximate searches are."""

    def __init__(self, engine: Engine, indexes: Indexes, recall: Callable[[], list[RecallSample]]) -> None:
        """recall: returns the measured recall of each namespace."""
        self._engine, self._indexes, self._recall = engine, indexes, recall

    def states(self) -> dict[str, str]:
        """For each index that the API key may see, by name: "ready", or what it waits for."""
        grant = permissions.GRANT.get()
        if not grant.scopes:
            return {}
        words = {"Ready": "ready", "Initializing": "models are being loaded", "Disabled": "it has no address"}
        failures = self._indexes.embedders.failures()
        states = {
            index.name: words.get(self._indexes.state(index)) or f"it cannot embed: {failures[index.name]}"
            for index in self._indexes.all()
        }
        states |= {name: "it is being opened" for name in self._engine.being_opened() if grant.allows_index(name)}
        return states | self._indexes.unusable()

    def recall(self) -> list[RecallSample]:
        """The measured recall of each namespace that the API key may see."""
        permissions.check("read")
        grant = permissions.GRANT.get()
        return [
            sample
            for sample in self._recall()
            if grant.allows_index(sample.index) and grant.allows_namespace(sample.namespace)
        ]

    def unusable(self) -> dict[str, str]:
        """Indexes whose files cannot be used, and why, as far as the API key may see them."""
        return self._indexes.unusable()

    def unusable_count(self) -> int:
        """How many indexes cannot be used."""
        return len(self._engine.unusable())

    def set_aside(self) -> list[str]:
        """Names of the files that a start set aside. Empty unless the API key is for every index."""
        grant = permissions.GRANT.get()
        return self._engine.set_aside() if grant.scopes and grant.indexes is None else []

    def set_aside_count(self) -> int:
        """How many folders of files a start set aside."""
        return len(self._engine.set_aside())
