"""What Hypercorn 0.18 lacks and has no setting for. Its version is pinned, and tests watch each of these."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import h2.events
import h2.exceptions
import h11
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol


def apply() -> None:
    """Put both in place, once."""
    if not hasattr(H11Protocol, "fixed_by_pinyon"):
        H11Protocol.fixed_by_pinyon = True  # type: ignore[attr-defined]
        _send_reason_phrases()
        _survive_late_data()


def _send_reason_phrases() -> None:
    """Make HTTP/1.1 status lines say "400 Bad Request" and not just "400": clients show the phrase."""
    send = H11Protocol._send_h11_event

    async def send_with_reason(self: H11Protocol, event: Any) -> None:
        if isinstance(event, h11.Response) and not event.reason:
            phrase = HTTPStatus(event.status_code).phrase.encode()
            event = h11.Response(status_code=event.status_code, headers=list(event.headers), reason=phrase)
        await send(self, event)

    H11Protocol._send_h11_event = send_with_reason  # type: ignore[method-assign]


def _survive_late_data() -> None:
    """Drop data for HTTP/2 streams that are over, which would end the connection and every other call on it."""
    handle = H2Protocol._handle_events

    async def handle_those_of_streams(self: H2Protocol, events: Sequence[Any]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                _give_room_back(self, event.flow_controlled_length or 0)
            else:
                await handle(self, [event])
        await self._flush()

    H2Protocol._handle_events = handle_those_of_streams  # type: ignore[method-assign]


def _give_room_back(protocol: H2Protocol, size: int) -> None:
    """Tell the sender that the connection takes as many bytes as before."""
    if size:
        protocol.connection.increment_flow_control_window(size)
