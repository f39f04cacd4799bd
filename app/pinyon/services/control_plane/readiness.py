"""Whether the service can answer yet, and if not, why."""

from collections.abc import Callable

from pinyon.errors import Unavailable

RETRY_AFTER_S = 2
LOADING = "Not ready: models are being loaded"


class Readiness:
    """Not ready from the start on; then ready; at the end not ready again. `waiting_for` is None while ready.

    Between the two, storage answers and `loading` is true: what needs a model is refused. trouble_with_keys: why the
    keys of the file are not known, or None.
    """

    def __init__(self, trouble_with_keys: Callable[[], str | None] = lambda: None) -> None:
        self.waiting_for: str | None = "storage is being opened"
        self.loading = True
        self._trouble_with_keys = trouble_with_keys

    def check(self) -> None:
        """Raises Unavailable with the reason while the service is not ready."""
        if self.waiting_for is not None:
            raise Unavailable(f"Not ready: {self.waiting_for}", RETRY_AFTER_S)

    def check_models(self) -> None:
        """Raises Unavailable with the reason while the service is not ready, or its models are not."""
        self.check()
        if self.loading:
            raise Unavailable(LOADING, RETRY_AFTER_S)

    def check_keys(self) -> None:
        """Raises Unavailable while API keys cannot be read, and so nobody is let in who has one of them."""
        if self._trouble_with_keys() is not None:  # no details: whoever asks has shown no key
            raise Unavailable("Not ready: the file of API keys cannot be read; the log says why", RETRY_AFTER_S)
