"""What Hypercorn lacks and has no setting for. README.md in this folder lists the changes, and tests watch each one."""

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
from h2.connection import H2Connection
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Response
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

from pinyon.patches.supported import check_parameters, check_shape, check_version

log = logging.getLogger("pinyon.serving")

SUPPORTED = {"hypercorn": ">=0.18,<0.19", "h11": ">=0.16,<0.17", "h2": ">=4.3,<5"}
"""Distributions whose private names this module uses, and the versions that have them."""

CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
"""Control characters, which may not stand in a header."""

MAX_INCOMPLETE_BYTES = 16 * 1024 * 1024
"""Bytes that all incomplete request heads may occupy together. Beyond this, connections with a large one are closed."""
LARGE_HEAD = 16 * 1024
"""Bytes from which an incomplete request head counts as large."""
WINDOW = 2**21
"""Bytes that a client may send before it waits for leave, for each HTTP/2 stream; a connection has 64 kB more."""
FRAME = 2**18
"""Bytes that an HTTP/2 frame may have."""


def check() -> None:
    """Raises FailedPrecondition unless Hypercorn, h11 and h2 are what these changes were tested with."""
    for distribution, supported in SUPPORTED.items():
        check_version(distribution, supported)
    check_parameters(
        "hypercorn",
        {
            H11Protocol.handle: "self event",
            H11Protocol.stream_send: "self event",
            H11Protocol._send_h11_event: "self event",
            H11Protocol._send_error_response: "self status_code",
            H2Protocol.initiate: "self headers settings",
            H2Protocol._handle_events: "self events",
            H2Protocol._create_stream: "self request",
            H2Protocol._flush: "self",
            TCPServer.__init__: "self app loop config context state reader writer",
            TCPServer.protocol_send: "self event",
            TCPServer._idle_timeout: "self",
            TCPServer._initiate_server_close: "self",
        },
    )
    check_shape("h11", hasattr(h11.Connection(h11.SERVER), "_receive_buffer"), "Connection._receive_buffer")
    settings = H2Connection().local_settings
    check_shape("h2", isinstance(settings, h2.settings.Settings), "H2Connection.local_settings")


def apply() -> None:
    """Make every change, once. Raises FailedPrecondition for versions that they were not tested with."""
    if not hasattr(H2Protocol, "changed_by_pinyon"):
        check()
        H2Protocol.changed_by_pinyon = True  # type: ignore[attr-defined]
        _write_head_with_body()
        _check_response_headers_together()
        _use_one_idle_task_per_connection()
        _ignore_data_of_closed_streams()
        _reset_malformed_requests()
        _refuse_malformed_upgrades()
        _raise_flow_control_windows()
        _explain_long_urls()
        _bound_incomplete_heads()


def _write_head_with_body() -> None:
    """Write the head of an HTTP/1.1 response together with what follows it, and put the reason into the first line.

    Hypercorn writes them separately, which costs both sides system calls. Its first line says "400" where others say
    "400 Bad Request", and clients show these words.
    """

    async def send_event(self: Any, event: Any) -> None:
        is_head = isinstance(event, h11.Response)
        if is_head and not event.reason:  # the event is frozen, and a new one would take 20 us to check
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


def _check_response_headers_together() -> None:
    """Search all headers of an HTTP/1.1 response for control characters in one pass. If there are any, h11 checks each.

    h11 matches a pattern for every name and value: 15 us, and more while a model fills the processor's caches.
    """
    stream_send, headers_type = H11Protocol.stream_send, type(h11.Response(headers=[], status_code=200).headers)

    async def send_quickly(self: Any, event: Any) -> None:
        is_last = self.keep_alive_requests >= self.config.keep_alive_max_requests
        if isinstance(event, Response) and event.status_code >= 200 and not is_last:
            headers = [*event.headers, *self.config.response_headers("h11")]
            if not CONTROL.search(b"".join(chain.from_iterable(headers))):
                triples: Any = headers_type([(name, name, value) for name, value in headers])
                await self._send_h11_event(h11.Response(headers=triples, status_code=event.status_code))
                return
        await stream_send(self, event)

    H11Protocol.stream_send = send_quickly  # type: ignore[method-assign]


def _use_one_idle_task_per_connection() -> None:
    """Close idle connections from one task that lives as long as the connection.

    Hypercorn starts a task after each response and cancels it at the next request.
    """
    init, send = TCPServer.__init__, TCPServer.protocol_send

    def init_idle(self: Any, *arguments: Any, **more: Any) -> None:
        init(self, *arguments, **more)
        self.idle_since = self.loop.time()

    async def send_or_note_idle(self: Any, event: Any) -> None:
        if not isinstance(event, Updated):
            await send(self, event)
            return
        self.idle_since = self.loop.time() if event.idle else None
        if event.idle and self.context.terminated.is_set():
            await send(self, event)

    async def close_when_idle(self: Any) -> None:
        terminated = self.context.terminated
        while not terminated.is_set():
            remaining_s = self.config.keep_alive_timeout
            if self.idle_since is not None:
                remaining_s += self.idle_since - self.loop.time()
            if remaining_s <= 0:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(terminated.wait(), remaining_s)
        if self.idle_since is not None:  # otherwise it is closed after its response
            await asyncio.shield(self._initiate_server_close())

    TCPServer.__init__ = init_idle  # type: ignore[method-assign]
    TCPServer.protocol_send = send_or_note_idle  # type: ignore[method-assign]
    TCPServer._idle_timeout = close_when_idle  # type: ignore[method-assign]


def _ignore_data_of_closed_streams() -> None:
    """Ignore data of HTTP/2 streams that are closed, such as streams refused while the server stops.

    Hypercorn would end the connection, and with it every other call.
    """
    handle = H2Protocol._handle_events

    async def handle_open_streams(self: H2Protocol, events: Sequence[Any]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                if event.flow_controlled_length:  # give the sender its window back
                    self.connection.increment_flow_control_window(event.flow_controlled_length)
            else:
                await handle(self, [event])
        await self._flush()

    H2Protocol._handle_events = handle_open_streams  # type: ignore[method-assign]


def _reset_malformed_requests() -> None:
    """Reset an HTTP/2 stream whose path or method is missing or not ASCII.

    Hypercorn raises half-way and leaves the connection in a state that keeps the server from stopping.
    """
    create = H2Protocol._create_stream

    async def create_or_reset(self: H2Protocol, request: Any) -> None:
        try:
            await create(self, request)
        except (UnicodeError, UnboundLocalError, ValueError) as error:
            log.info("an HTTP/2 request was refused: %s", error)
            stream_id = request.stream_id
            self.streams.pop(stream_id, None)
            if self.stream_buffers.pop(stream_id, None) is not None:
                self.priority.remove_stream(stream_id)
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)

    H2Protocol._create_stream = create_or_reset  # type: ignore[method-assign]


def _refuse_malformed_upgrades() -> None:
    """Close a connection that asks for HTTP/2 with malformed settings, without a traceback in the log."""
    initiate = H2Protocol.initiate

    async def initiate_or_close(self: H2Protocol, headers: Any = None, settings: bytes | None = None) -> None:
        try:
            await initiate(self, headers, settings)
        except (h2.exceptions.ProtocolError, binascii.Error, ValueError) as error:
            log.info("an upgrade to HTTP/2 was refused: %s", error)
            self.closed = True
            await self.send(Closed())

    H2Protocol.initiate = initiate_or_close  # type: ignore[method-assign]


def _raise_flow_control_windows() -> None:
    """Let HTTP/2 clients send large bodies in large frames, without a wait for leave after every 64 kB."""
    init, initiate = H2Protocol.__init__, H2Protocol.initiate

    def init_with_settings(self: H2Protocol, *arguments: Any, **more: Any) -> None:
        init(self, *arguments, **more)
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

    H2Protocol.__init__ = init_with_settings  # type: ignore[method-assign]
    H2Protocol.initiate = initiate_with_window  # type: ignore[method-assign]


def _explain_long_urls() -> None:
    """Answer a request whose first line is too long with 414 and a message; Hypercorn answers 431 without a body."""
    send_error = H11Protocol._send_error_response

    async def send_error_or_message(self: Any, status_code: int) -> None:
        limit = self.config.h11_max_incomplete_size
        received, _ = self.connection.trailing_data
        if status_code != HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE or b"\n" in received[:limit]:
            await send_error(self, status_code)
            return
        message = f"The URL is longer than {limit} bytes; name fewer ids, or send several requests"
        body = json.dumps({"code": 3, "message": message, "details": []}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        await self._send_h11_event(h11.Response(status_code=HTTPStatus.REQUEST_URI_TOO_LONG, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    H11Protocol._send_error_response = send_error_or_message  # type: ignore[method-assign]


class IncompleteHeads:
    """Bytes of the incomplete request heads of all connections."""

    bytes = 0


def _bound_incomplete_heads() -> None:
    """Refuse large incomplete request heads while those of all connections take much memory.

    Hypercorn bounds the head of each connection only.
    """
    handle = H11Protocol.handle

    async def handle_within_bounds(self: Any, event: Any) -> None:
        try:
            await handle(self, event)
        except BaseException:  # another protocol takes over, without this one's buffer
            IncompleteHeads.bytes -= getattr(self, "incomplete", 0)
            self.incomplete = 0
            raise
        incomplete = self.connection.their_state is h11.IDLE and not isinstance(event, Closed)
        size = len(self.connection._receive_buffer) if incomplete else 0
        IncompleteHeads.bytes += size - getattr(self, "incomplete", 0)
        self.incomplete = size
        if IncompleteHeads.bytes > MAX_INCOMPLETE_BYTES and size > LARGE_HEAD:
            IncompleteHeads.bytes -= size
            self.incomplete = 0
            await self._send_error_response(HTTPStatus.SERVICE_UNAVAILABLE)
            await self.send(Closed())

    H11Protocol.handle = handle_within_bounds  # type: ignore[method-assign]
