"""What Hypercorn 0.18 lacks and has no setting for. Its version is pinned, and a test watches it."""

from http import HTTPStatus
from typing import Any

import h11
from hypercorn.protocol.h11 import H11Protocol


def send_reason_phrases() -> None:
    """Make HTTP/1.1 status lines say "400 Bad Request" and not just "400": clients show the phrase."""
    send = H11Protocol._send_h11_event

    async def send_with_reason(self: H11Protocol, event: Any) -> None:
        if isinstance(event, h11.Response) and not event.reason:
            phrase = HTTPStatus(event.status_code).phrase.encode()
            event = h11.Response(status_code=event.status_code, headers=list(event.headers), reason=phrase)
        await send(self, event)

    if not hasattr(send, "with_reason"):
        send_with_reason.with_reason = True  # type: ignore[attr-defined]
        H11Protocol._send_h11_event = send_with_reason  # type: ignore[method-assign]
