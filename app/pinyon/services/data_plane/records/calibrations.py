"""Finds the curve that says what the scores of a search mean: the index's own, or one that comes with Pinyon."""

from pathlib import Path

import msgspec

from pinyon import decoding
from pinyon.domain import EVEN, Curve, Fingerprint, IndexSpec, Mix
from pinyon.errors import FailedPrecondition, InvalidArgument
from pinyon.search.calibration import CurvesFile, problem
from pinyon.shipped import shipped_model

FILE = "calibration.json"


class Calibrations:
    """The curves of a models folder. Raises FailedPrecondition if their file is wrong."""

    def __init__(self, models_dir: Path) -> None:
        path = shipped_model(models_dir, FILE)
        try:
            shipped = decoding.decode(path.read_bytes(), CurvesFile)
        except (OSError, msgspec.MsgspecError) as error:
            raise FailedPrecondition(f"The curves of calibrated scores cannot be read from {path}: {error}") from error
        for each in shipped.curves:
            if (wrong := problem(each.curve)) is not None:
                raise FailedPrecondition(f"In {path}, the curve of {each.pipeline} {wrong}")
        self._curves = {(each.pipeline, each.model, each.version): each.curve for each in shipped.curves}

    def curve(self, spec: IndexSpec, pipeline: str | None, mix: Mix, embedded_by: Fingerprint | None) -> Curve | None:
        """The curve of a pipeline of an index; None if there is none.

        pipeline: as in EmbedSpec.calibration; None for scores that cannot have a curve. mix: of the search; a
        curve is for one mix. embedded_by: what embeds the texts of the index, if the pipeline depends on it.
        """
        embed = spec.embed
        if embed is None or spec.sparse or pipeline is None:
            return None
        depends_on_mix = pipeline not in ("dense", "lexical")
        if pipeline in embed.calibration and (not depends_on_mix or mix == (embed.mix or EVEN)):
            return embed.calibration[pipeline]
        # The curves that come with Pinyon are for two sides in the usual mix.
        if depends_on_mix and (mix != EVEN or embed.sparse_model):
            return None
        if pipeline == "dense" and spec.metric != "cosine":
            return None
        if (curve := self._curves.get((pipeline, "", ""))) is not None or embedded_by is None:
            return curve
        version = embedded_by.version.partition("+")[0]  # without the precision, which hardly changes scores
        return self._curves.get((pipeline, embedded_by.weights, version))


def no_curve(pipeline: str | None, embedded_by: Fingerprint | None) -> InvalidArgument:
    """The error of a search with min_score whose scores have no curve. pipeline: as in Calibrations.curve()."""
    if pipeline is None:
        return InvalidArgument(
            "'min_score' is for searches by text, and for reranking by the field that the index embeds"
        )
    model = "" if embedded_by is None else f" with {embedded_by.weights}"
    return InvalidArgument(
        f"'min_score' needs calibrated scores, and those of {pipeline}{model} are not calibrated for this index and "
        "mix. `pinyon tune INDEX JUDGEMENTS` calibrates them from judged queries; docs/relevance.md says what is "
        "calibrated from the start"
    )
