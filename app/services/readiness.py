"""Whether the service can answer yet, and if not, why."""

from app.errors import Unavailable

RETRY_AFTER_S = 2


class Readiness:
    """Not ready from the start on; then ready; at the end not ready again. `waiting_for` is None while ready."""

    def __init__(self) -> None:
        self.waiting_for: str | None = "storage is being opened"

    def check(self) -> None:
        """Raises Unavailable with the reason while the service is not ready."""
        if self.waiting_for is not None:
            raise Unavailable(f"Not ready: {self.waiting_for}", RETRY_AFTER_S)
