"""Finds the fastest precision of a model in the background, once for a kind of machine.

The models are measured by one thread of a process of the lowest priority, in processor time. So requests hardly notice
it, and what else the machine does hardly changes the result. What was interrupted is measured at the next start.
"""

import logging
import time
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from pinyon.errors import PinyonError
from pinyon.inference import bench, precision
from pinyon.inference.catalog import Catalog
from pinyon.inference.child_process import ChildProcess, Stopped
from pinyon.inference.precision import Choice
from pinyon.settings import Settings
from pinyon.shipped import SHIPPED

LOCK = Path("weights") / "precision-search.lock"
"""Held while a server measures, so that two of them do not measure at the same time."""

log = logging.getLogger("pinyon.models")


class PrecisionSearch:
    """Measures models and remembers the choices. settings, catalog: of the server.

    timer: seconds of one thread, as bench.Timer.
    """

    def __init__(self, settings: Settings, catalog: Catalog, timer: bench.Timer = time.process_time) -> None:
        one_thread = msgspec.structs.replace(settings.models, threads=1)
        self._settings = msgspec.structs.replace(settings, models=one_thread)
        self._catalog, self._timer = catalog, timer
        self._process = ChildProcess(background=True)

    def choose(self, name: str) -> Choice | None:
        """Measure a model, if nobody has meanwhile, and remember the choice. Blocks for a minute or longer.

        None if it was not measured: it was stopped, another server measures, or it is not possible, which the log says.
        """
        models_dir = self._settings.models_dir
        try:
            (models_dir / LOCK).parent.mkdir(parents=True, exist_ok=True)
            with FileLock(models_dir / LOCK, timeout=0):
                return precision.chosen(models_dir).get(name) or self._measure(name)
        except Timeout:
            log.info("another server measures how models are computed fastest; its choice counts from the next start")
        except Stopped:
            log.info("the measurement of %s was interrupted; the next start begins it again", name)
        except (OSError, PinyonError) as error:
            log.warning("%s stays in fp32, because it cannot be measured what is faster: %s", name, error)
        return None

    def _measure(self, name: str) -> Choice:
        texts = bench.paragraphs(SHIPPED)
        measured = bench.measure(self._settings, name, texts, timer=self._timer, process=self._process)
        choice = bench.best(list(measured))
        precision.choose(self._settings.models_dir, name, choice)
        return choice

    def stop(self) -> None:
        """End the measurement that runs, and begin no other. Any thread may call it."""
        self._process.stop()
