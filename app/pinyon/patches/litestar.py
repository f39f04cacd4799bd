"""Has Litestar resolve dependencies one after another.

Litestar starts a task for each dependency, and Pinyon's only look something up.
"""

from litestar import Litestar
from litestar.routes import HTTPRoute

from pinyon.patches.supported import check_shape, check_version

SUPPORTED = ">=2.25,<3"


def check() -> None:
    """Raises FailedPrecondition for a version of Litestar that this was not tested with."""
    check_version("litestar", SUPPORTED)


def resolve_dependencies_in_turn(app: Litestar) -> None:
    """Split each batch of dependencies into batches of one, which Litestar resolves without a task.

    Raises FailedPrecondition for a version of Litestar that this was not tested with.
    """
    check()
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for _, model in route.route_handler_map.values():
                batches = getattr(model, "dependency_batches", None)
                fits = isinstance(batches, list) and all(isinstance(batch, set) for batch in batches)
                check_shape("litestar", fits, "KwargsModel.dependency_batches")
                model.dependency_batches = [{each} for batch in model.dependency_batches for each in batch]
