"""What Hypercorn 0.18 lacks and has no setting for. Its version is pinned, and tests watch each of these."""

import asyncio
import binascii
import contextlib
import json
import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from itertools import chain
from typing import Any

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Response
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

log = logging.getLogger("pinyon.serving")

CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
"""What ends a header or a head, or has no place in one."""

MOST_UNFINISHED, LARGE_HEAD = 16 * 1024 * 1024, 16 * 1024
"""Bytes that the heads of all requests may have that have not arrived as a whole; beyond, those with large ones end."""
WINDOW, FRAME = 2**21, 2**18
"""Bytes that may be on their way, in one stream and beside 64 kB in a connection; and in a frame."""


def apply() -> None:
    """Put all of them in place, once."""
    if not hasattr(H2Protocol, "fixed_by_pinyon"):
        H2Protocol.fixed_by_pinyon = True  # type: ignore[attr-defined]
        _send_answers_whole()
        _check_headers_at_once()
        _watch_idle_connections()
        _survive_late_data()
        _reset_what_is_no_request()
        _refuse_what_is_no_upgrade()
        _take_large_bodies()
        _say_that_a_url_is_too_long()
        _bound_unfinished_heads()


def _send_answers_whole() -> None:
    """Write the head of an HTTP/1.1 answer together with what follows it; its first line says "400 Bad Request".

    Hypercorn writes one after another, which costs both sides system calls, and its first line just says "400": clients
    show the phrase.
    """

    async def send_event(self: Any, event: Any) -> None:
        is_head = isinstance(event, h11.Response)
        if is_head and not event.reason:  # it is frozen, and checking another one takes 20 us
            object.__setattr__(event, "reason", HTTPStatus(event.status_code).phrase.encode())
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        head = self.__dict__.pop("head", b"")
        if is_head:
            self.head = data
        elif head or data:
            await self.send(RawData(head + data))

    H11Protocol._send_h11_event = send_event  # type: ignore[method-assign]


def _check_headers_at_once() -> None:
    """Look for what may not be in headers of HTTP/1.1 answers in all of them together, and only then one by one.

    h11 matches each name and value: 15 us, and more while the processor's caches are full of a model.
    """
    stream_send, checked = H11Protocol.stream_send, type(h11.Response(headers=[], status_code=200).headers)

    async def send_head_or_else(self: Any, event: Any) -> None:
        is_last = self.keep_alive_requests >= self.config.keep_alive_max_requests
        if isinstance(event, Response) and event.status_code >= 200 and not is_last:
            headers = [*event.headers, *self.config.response_headers("h11")]
            if not CONTROL.search(b"".join(chain.from_iterable(headers))):
                triples: Any = checked([(name, name, value) for name, value in headers])
                await self._send_h11_event(h11.Response(headers=triples, status_code=event.status_code))
                return
        await stream_send(self, event)

    H11Protocol.stream_send = send_head_or_else  # type: ignore[method-assign]


def _watch_idle_connections() -> None:
    """Close a connection that nothing was asked on for a while, by one task for all of its life.

    Hypercorn starts a task after each answer, and ends it before the next.
    """
    make, send = TCPServer.__init__, TCPServer.protocol_send

    def make_idle(self: Any, *arguments: Any, **more: Any) -> None:
        make(self, *arguments, **more)
        self.idle_since = self.loop.time()

    async def send_or_note(self: Any, event: Any) -> None:
        if not isinstance(event, Updated):
            await send(self, event)
            return
        self.idle_since = self.loop.time() if event.idle else None
        if event.idle and self.context.terminated.is_set():
            await send(self, event)

    async def close_when_idle(self: Any) -> None:
        ended = self.context.terminated
        while not ended.is_set():
            left = self.config.keep_alive_timeout
            if self.idle_since is not None:
                left += self.idle_since - self.loop.time()
            if left <= 0:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), left)
        if self.idle_since is not None:  # else it is closed after its answer
            await asyncio.shield(self._initiate_server_close())

    TCPServer.__init__ = make_idle  # type: ignore[method-assign]
    TCPServer.protocol_send = send_or_note  # type: ignore[method-assign]
    TCPServer._idle_timeout = close_when_idle  # type: ignore[method-assign]


def _survive_late_data() -> None:
    """Drop data of HTTP/2 streams that are over, such as those refused while the server stops.

    Hypercorn would end the connection over it, and every other call on it.
    """
    handle = H2Protocol._handle_events

    async def handle_those_of_streams(self: H2Protocol, events: Sequence[Any]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                if event.flow_controlled_length:  # the sender may send as much again
                    self.connection.increment_flow_control_window(event.flow_controlled_length)
            else:
                await handle(self, [event])
        await self._flush()

    H2Protocol._handle_events = handle_those_of_streams  # type: ignore[method-assign]


def _reset_what_is_no_request() -> None:
    """Reset an HTTP/2 stream whose path or method is not ASCII, or absent.

    Hypercorn raises in the middle of it, and leaves the connection in a state in which the server cannot end.
    """
    create = H2Protocol._create_stream

    async def create_or_reset(self: H2Protocol, request: Any) -> None:
        try:
            await create(self, request)
        except (UnicodeError, UnboundLocalError, ValueError) as error:
            log.info("an HTTP/2 request was refused: %s", error)
            stream = request.stream_id
            self.streams.pop(stream, None)
            if self.stream_buffers.pop(stream, None) is not None:
                self.priority.remove_stream(stream)
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.connection.reset_stream(stream, h2.errors.ErrorCodes.PROTOCOL_ERROR)

    H2Protocol._create_stream = create_or_reset  # type: ignore[method-assign]


def _refuse_what_is_no_upgrade() -> None:
    """End a connection that asks to go on in HTTP/2 with settings that are none, without a traceback in the log."""
    initiate = H2Protocol.initiate

    async def initiate_or_end(self: H2Protocol, headers: Any = None, settings: bytes | None = None) -> None:
        try:
            await initiate(self, headers, settings)
        except (h2.exceptions.ProtocolError, binascii.Error, ValueError) as error:
            log.info("an upgrade to HTTP/2 was refused: %s", error)
            self.closed = True
            await self.send(Closed())

    H2Protocol.initiate = initiate_or_end  # type: ignore[method-assign]


def _take_large_bodies() -> None:
    """Let a sender of HTTP/2 send a large body without waiting for leave after every 64 kB, in large frames."""
    make, initiate = H2Protocol.__init__, H2Protocol.initiate

    def make_with_settings(self: H2Protocol, *arguments: Any, **more: Any) -> None:
        make(self, *arguments, **more)
        settings = self.connection.local_settings
        known = {h2.settings.SettingCodes(code): value for code, value in settings.items()}
        known |= {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW, h2.settings.SettingCodes.MAX_FRAME_SIZE: FRAME}
        self.connection.local_settings = h2.settings.Settings(client=False, initial_values=known)
        self.connection.max_inbound_frame_size = FRAME

    async def initiate_with_window(self: H2Protocol, *arguments: Any, **more: Any) -> None:
        await initiate(self, *arguments, **more)
        if not self.closed:
            self.connection.increment_flow_control_window(WINDOW)
            await self._flush()

    H2Protocol.__init__ = make_with_settings  # type: ignore[method-assign]
    H2Protocol.initiate = initiate_with_window  # type: ignore[method-assign]


def _say_that_a_url_is_too_long() -> None:
    """Answer a request whose first line does not end with 414 and a reason; Hypercorn says 431, and nothing else."""
    send_error = H11Protocol._send_error_response

    async def send_error_or_reason(self: Any, status_code: int) -> None:
        most = self.config.h11_max_incomplete_size
        received, _ = self.connection.trailing_data
        if status_code != HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE or b"\n" in received[:most]:
            await send_error(self, status_code)
            return
        words = f"The URL is longer than {most} bytes; name fewer ids, or send several requests"
        body = json.dumps({"code": 3, "message": words, "details": []}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        await self._send_h11_event(h11.Response(status_code=HTTPStatus.REQUEST_URI_TOO_LONG, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    H11Protocol._send_error_response = send_error_or_reason  # type: ignore[method-assign]


class UnfinishedHeads:
    """Bytes of requests' heads that have arrived in part, of all connections."""

    bytes = 0


def _bound_unfinished_heads() -> None:
    """Refuse heads that do not end while those of all connections take much memory; Hypercorn bounds each only."""
    handle = H11Protocol.handle

    async def handle_within_bounds(self: Any, event: Any) -> None:
        try:
            await handle(self, event)
        except BaseException:  # another protocol goes on from here, without this one's buffer
            UnfinishedHeads.bytes -= getattr(self, "unfinished", 0)
            self.unfinished = 0
            raise
        waits = self.connection.their_state is h11.IDLE and not isinstance(event, Closed)
        size = len(self.connection._receive_buffer) if waits else 0
        UnfinishedHeads.bytes += size - getattr(self, "unfinished", 0)
        self.unfinished = size
        if UnfinishedHeads.bytes > MOST_UNFINISHED and size > LARGE_HEAD:
            UnfinishedHeads.bytes -= size
            self.unfinished = 0
            await self._send_error_response(HTTPStatus.SERVICE_UNAVAILABLE)
            await self.send(Closed())

    H11Protocol.handle = handle_within_bounds  # type: ignore[method-assign]
