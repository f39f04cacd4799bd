"""Listening: Hypercorn with our application, the banner, and a clean end on SIGTERM."""

import asyncio
import json
import logging
import resource
import signal
import socket
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol

from app.api.rest.guard import is_loopback
from app.domain import IndexSpec
from app.errors import FailedPrecondition
from app.server import Service, create_app
from app.settings import Settings


async def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit status.

    Requests in flight finish, within the grace period; nothing new is taken. A second signal ends the process at once.
    Raises PinyonError if the address cannot be had or must not be, storage does not open, or the settings are wrong.
    """
    _configure_logging(settings)
    _allow_many_connections()
    send_reason_phrases()
    service = Service(settings)
    listener = listen(settings)
    address = f"{_shown(settings.server.host)}:{listener.getsockname()[1]}"
    stop, failures = asyncio.Event(), list[Exception]()

    def fail(error: Exception) -> None:
        failures.append(error)
        stop.set()

    async with service.running(lambda: print(banner(service, address), flush=True), fail):
        print(f"Pinyon is starting on http://{address} (loading models takes some seconds) ...", flush=True)
        _on_signals(stop)
        ending = asyncio.create_task(_end(service, stop, settings.server.shutdown_grace_s))
        await hypercorn_serve(create_app(service), config_for(settings, listener), shutdown_trigger=stop.wait)
        ending.cancel()
    if failures:
        raise failures[0]
    print("Pinyon has stopped; all data is on disk.", flush=True)
    return 0


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def begin_to_stop() -> None:
        stop.set()
        for number in numbers:  # whoever asks twice does not want to wait
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        loop.add_signal_handler(number, begin_to_stop)


async def _end(service: Service, stop: asyncio.Event, grace_s: float) -> None:
    """Once stop is set: take nothing new, and answer what still waits for a model shortly before the grace ends."""
    await stop.wait()
    service.stopping()
    await asyncio.sleep(grace_s * 0.9)
    service.batcher.refuse_waiting()


def listen(settings: Settings) -> socket.socket:
    """The bound socket. Raises FailedPrecondition for an address that is busy, unknown or open to others."""
    host, port = settings.server.host, settings.server.port
    if not settings.server.insecure and not is_loopback(host):
        raise FailedPrecondition(
            f"Listening on {host} would let anybody on the network read and change the data: this version has no "
            "API keys. Use --host 127.0.0.1, or say --insecure (PINYON_SERVER_INSECURE=true) if "
            "something else keeps strangers out"
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise FailedPrecondition(f"Cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener


def config_for(settings: Settings, listener: socket.socket) -> Config:
    """Hypercorn's settings; it takes the socket over."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = settings.server.shutdown_grace_s
    # The default of 1000 closes a connection under the calls in flight on it.
    config.keep_alive_max_requests = 10**9
    config.keep_alive_timeout = 75
    config.h11_max_incomplete_size = 1024 * 1024
    config.include_server_header = False
    config.loglevel = "WARNING"
    config.accesslog = None
    return config


def send_reason_phrases() -> None:
    """Make Hypercorn's HTTP/1.1 status lines say "400 Bad Request" and not just "400": clients show the phrase.

    Hypercorn has no setting for it; its version is pinned and a test watches the status line.
    """
    send = H11Protocol._send_h11_event

    async def send_with_reason(self: H11Protocol, event: Any) -> None:
        if isinstance(event, h11.Response) and not event.reason:
            phrase = HTTPStatus(event.status_code).phrase.encode()
            event = h11.Response(status_code=event.status_code, headers=list(event.headers), reason=phrase)
        await send(self, event)

    if not hasattr(send, "with_reason"):
        send_with_reason.with_reason = True  # type: ignore[attr-defined]
        H11Protocol._send_h11_event = send_with_reason  # type: ignore[method-assign]


def banner(service: Service, address: str) -> str:
    """What is served, who answers, where the data lies, and one line to try."""
    settings, lines = service.settings, [f"Pinyon is ready on http://{address}"]
    trouble = service.indexes.trouble()
    for spec in service.indexes.all():
        lines.append(f"  index    {spec.name}: {_kind(spec)}, {spec.metric}")
        if spec.embed is not None:
            embedder = service.indexes.available_embedder(spec)
            answer = embedder.label if embedder else f"nobody: {trouble.get(spec.name)}"
            lines.append(f"           field '{spec.embed.text_field}' embedded by {answer}")
    if not service.indexes.all():
        lines.append("  index    none; describe one in the [index] table of the settings file")
    for model in service.inference.known_models():
        if model.answer is not None:
            stand_in = f": STAND-IN, answered by {model.answer.by}" if model.answer.stand_in else ""
            lines.append(f"  model    {model.name if stand_in else model.answer.label}{stand_in}")
    lines.append(f"  data     {Path(settings.storage.data_dir).resolve()}")
    if not is_loopback(settings.server.host):
        lines.append("  WARNING  open to the network without API keys (--insecure)")
    if service.indexes.default is not None:
        lines += ["Try it:", "  " + _example(f"http://{address}", service.indexes.spec(service.indexes.default))]
    return "\n".join(lines)


def _kind(spec: IndexSpec) -> str:
    return "sparse vectors" if spec.sparse else f"{spec.dimension} dimensions"


def _example(url: str, spec: IndexSpec) -> str:
    """A curl line that stores something and finds it again."""
    if spec.embed is not None:
        record = {"_id": "a", spec.embed.text_field: "Apples are rich in fibre"}
        query = {"query": {"inputs": {"text": "healthy fruit"}, "top_k": 3}}
        paths = "/records/namespaces/demo/upsert", "/records/namespaces/demo/search"
        bodies: tuple[dict[str, Any], ...] = (record, query)
    else:
        one: dict[str, Any] = {"values": [1.0] * spec.dimension}
        if spec.sparse:
            one = {"sparseValues": {"indices": [1], "values": [1.0]}}
        found = {"sparseVector": one["sparseValues"]} if spec.sparse else {"vector": one["values"]}
        paths = "/vectors/upsert", "/query"
        bodies = ({"vectors": [{"id": "a", **one}], "namespace": "demo"}, {**found, "topK": 3, "namespace": "demo"})
    lines = (f"curl -s {url}{path} -d '{json.dumps(body)}'" for path, body in zip(paths, bodies, strict=True))
    return " && ".join(lines)


def _configure_logging(settings: Settings) -> None:
    logging.basicConfig(stream=sys.stderr, level="WARNING", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pinyon").setLevel(settings.server.log_level.upper())


def _allow_many_connections() -> None:
    """Lift the limit on open files to the most this user may have: running out of them is hard to recover from."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _shown(host: str) -> str:
    return "localhost" if host in ("127.0.0.1", "::1", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
