"""`pinyon models add` and `remove`: models of the user's own that are not in the settings."""

import shutil
from pathlib import Path

from pinyon.errors import FailedPrecondition
from pinyon.inference.model_files import entries, installed, model_config, weights
from pinyon.inference.model_files.installed import Installed
from pinyon.inference.model_files.pull import pull
from pinyon.settings import OwnModel


def add(name: str, model: OwnModel, models_dir: Path, offline: bool) -> str:
    """Remember a model under a name; one on the hub is fetched first. Returns a sentence.

    Raises FailedPrecondition if the name is taken or cannot be a name, or if Pinyon does not compute such a model.
    Raises as pull() does.
    """
    entries.check_name(name)
    known = installed.read(models_dir)
    if name in entries.catalogued(models_dir):
        raise FailedPrecondition(f"'{name}' is a model of the catalogue; take another name")
    if known.added.get(name, model) != model:
        raise FailedPrecondition(f"There is another model '{name}'; `pinyon models remove {name}` removes it")
    fetched = ""
    if model.source.startswith("hub:"):
        fetched = pull(name, models_dir, offline, {name: model}) + "\n"
    entry = entries.own_entry(model, installed.read(models_dir).pins.get(name))
    folder = weights.locate(name, entry, models_dir, {})
    if folder is None:
        raise FailedPrecondition(f"{model.source} is not a folder of weights in safetensors with their config.json")
    entry = entries.described(entry, model_config.read(folder))
    known = installed.read(models_dir)
    installed.write(models_dir, Installed({**known.added, name: model}, known.pins))
    return f"{fetched}{name} is added: {entry.summary}. Restart the server to use it."


def remove(name: str, models_dir: Path) -> str:
    """Forget a model that was added, and remove what was fetched for it. Its own folder stays. Returns a sentence.

    Raises FailedPrecondition if it was not added.
    """
    known = installed.read(models_dir)
    if name not in known.added:
        added = ", ".join(known.added) or "none"
        raise FailedPrecondition(f"'{name}' was not added by `pinyon models add`; added are: {added}")
    source = known.added[name].source
    if source.startswith("hub:"):
        for folder in (models_dir / "weights" / name, models_dir / "weights" / f"{name}.partial"):
            try:
                if folder.exists():
                    shutil.rmtree(folder)
            except OSError as error:
                raise FailedPrecondition(f"{folder} cannot be removed: {error}") from error
    others = {each: model for each, model in known.added.items() if each != name}
    installed.write(models_dir, Installed(others, {each: pin for each, pin in known.pins.items() if each != name}))
    return f"{name} is removed; it came from {source}."
