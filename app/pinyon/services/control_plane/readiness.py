"""Whether the service is ready to answer, and if not, why."""

from collections.abc import Callable

from pinyon.errors import Unavailable

RETRY_AFTER_S = 2
LOADING = "Not ready: models are being loaded"


class Readiness:
    """The state of the service. It is not ready while storage is opened, and when the server stops.

    waiting_for: why it is not ready; None while it is. loading: models are being loaded, and requests that need one are
    refused. trouble_with_keys, trouble_with_storage: return why the API keys or the data cannot be read, or None.
    """

    def __init__(self, trouble_with_keys: Callable[[], str | None] = lambda: None) -> None:
        self.waiting_for: str | None = "storage is being opened"
        self.loading = True
        self._trouble_with_keys = trouble_with_keys
        self.trouble_with_storage: Callable[[], str | None] = lambda: None

    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return self.waiting_for is None and self.trouble_with_storage() is None

    def check(self) -> None:
        """Raises Unavailable with the reason while the service is not ready."""
        if self.waiting_for is not None:
            raise Unavailable(f"Not ready: {self.waiting_for}", RETRY_AFTER_S)

    def check_models(self) -> None:
        """Raises Unavailable with the reason while the service is not ready, or while models are being loaded."""
        self.check()
        if self.loading:
            raise Unavailable(LOADING, RETRY_AFTER_S)

    def check_storage(self) -> None:
        """Raises Unavailable while no data can be read."""
        if (problem := self.trouble_with_storage()) is not None:
            raise Unavailable(f"Not ready: {problem}", RETRY_AFTER_S)

    def check_keys(self) -> None:
        """Raises Unavailable while the file of API keys cannot be read, so that its keys are refused."""
        if self._trouble_with_keys() is not None:  # without details, because the caller has no valid key
            raise Unavailable("Not ready: the file of API keys cannot be read; the log says why", RETRY_AFTER_S)
