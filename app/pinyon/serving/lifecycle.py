"""The life of a server process: start, serve until SIGTERM, stop cleanly."""

import asyncio
import contextlib
import faulthandler
import logging
import os
import resource
import signal
import sys
from pathlib import Path

from hypercorn.asyncio import serve as hypercorn_serve

from pinyon import logs
from pinyon.asgi import create_app
from pinyon.auth.keys import Keys
from pinyon.patches import hypercorn as hypercorn_patches
from pinyon.patches import rank_bm25 as rank_bm25_patches
from pinyon.server import Service
from pinyon.serving.agents import mcp_endpoint
from pinyon.serving.banner import banner
from pinyon.serving.connection_errors import ConnectionErrors
from pinyon.serving.sockets import addresses_of, check_certificate, check_open_to_others, config_for, listen
from pinyon.settings import Settings
from pinyon.storage.engines import installation_of

SWITCH_INTERVAL_S = 0.001
"""After so long a thread lets another one run Python. The event loop would wait five times as long by default, for each
thread that reads or reranks: eight clients got an eighth fewer answers."""

log = logging.getLogger("pinyon.serving")

PATIENCE_S = 60.0
"""How long a start waits for a database that does not answer. Whoever runs the process may then start it again."""


async def serve(settings: Settings, patience_s: float = PATIENCE_S) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status.

    patience_s: how long the start waits for a database that does not answer.

    Running requests may finish within the grace period, and new ones are refused. A second signal ends the process
    immediately. Raises PinyonError if the address cannot or must not be used, storage does not open, or the settings
    are wrong.
    """
    logs.configure(settings.server.log_level, settings.server.log_format)
    _show_crashes()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _allow_many_connections()
    hypercorn_patches.apply()
    rank_bm25_patches.check()
    installation = installation_of(settings.storage)

    def check_open(required: bool) -> None:
        check_open_to_others(settings, required, installation.is_shared)

    if not installation.is_shared:  # in a database, keys are known later
        check_open(Keys(Path(settings.storage.data_dir), settings.server.api_key).required())
    check_certificate(settings)
    listeners = listen(settings)
    service = Service(settings, addresses_of(settings, listeners), patience_s)
    mcp = mcp_endpoint(service) if settings.server.mcp else None
    stop, failures = asyncio.Event(), list[Exception]()

    def fail(error: Exception) -> None:
        failures.append(error)
        stop.set()

    def opened() -> None:
        check_open(service.keys.required())
        if not settings.storage.read_only:
            with contextlib.suppress(OSError):  # commands need --host and --port then
                installation.announce(service.addresses.local_url())

    def ready() -> None:
        if not settings.storage.read_only:
            service.start_finding_precisions()
        say(banner(service))

    running = service.running(ready, fail, opened)
    async with running, contextlib.nullcontext() if mcp is None else mcp.running():
        where = service.addresses.local_url()
        say(f"Pinyon is starting on {where} (loading models takes some seconds) ...")
        _on_signals(stop, service)
        errors = ConnectionErrors()
        errors.watch(asyncio.get_running_loop())
        ending = asyncio.create_task(_end(service, stop, settings.server.shutdown_grace_s))
        await hypercorn_serve(create_app(service, mcp), config_for(settings, listeners), shutdown_trigger=stop.wait)
        ending.cancel()
        await asyncio.sleep(0)  # lets callbacks of the connections that have just ended run
        errors.sum_up()
    if failures:
        raise failures[0]
    say("Pinyon has stopped; all data is on disk.")
    return 0


def say(text: str) -> None:
    """Print a line. If nobody reads the output any more, the server goes on, and stops, without it."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


LAST_RESORT_S = 15.0
"""Seconds after the grace period until the process ends in any case."""


def _on_signals(stop: asyncio.Event, service: Service) -> None:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def begin_to_stop() -> None:
        if service.readiness.loading:
            waits = "it first finishes opening files and loading models"
        else:
            waits = f"running requests have {service.settings.server.shutdown_grace_s:g} s to finish"
        stop.set()
        for number in numbers:  # a second signal ends the process
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        say(f"Pinyon is stopping: {waits}. Send the signal again to end it immediately.")

    for number in numbers:
        loop.add_signal_handler(number, begin_to_stop)


async def _end(service: Service, stop: asyncio.Event, grace_s: float) -> None:
    """After stop, refuse new requests, and shortly before the grace period ends also calls that wait for a model."""
    await stop.wait()
    service.stopping()
    await asyncio.sleep(grace_s * 0.9)
    service.executor.refuse_waiting()
    await asyncio.sleep(grace_s * 0.1 + LAST_RESORT_S)
    log.error("connections do not end; the process ends without them")
    os._exit(1)  # acknowledged writes are on disk; the next start replays the log


def _show_crashes() -> None:
    """If native code crashes, print where each thread was. The process would end without a word otherwise."""
    if sys.stderr is not None and not faulthandler.is_enabled():
        faulthandler.enable()


def _allow_many_connections() -> None:
    """Raise the limit on open files to the maximum for this user: running out of them is hard to recover from."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
