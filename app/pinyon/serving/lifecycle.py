"""Listening: Hypercorn with our application, the banner, and a clean end on SIGTERM."""

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve as hypercorn_serve

from pinyon import logs
from pinyon.api.guard import is_loopback
from pinyon.domain import IndexSpec
from pinyon.patches import hypercorn as hypercorn_patches
from pinyon.server import Service, create_app
from pinyon.serving.connection_errors import ConnectionErrors
from pinyon.serving.sockets import addresses_of, check_certificate, check_open_to_others, config_for, listen
from pinyon.settings import Settings
from pinyon.storage.engines import installation_of

log = logging.getLogger("pinyon.serving")


async def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit status.

    Requests in flight finish, within the grace period; nothing new is taken. A second signal ends the process at once.
    Raises PinyonError if the address cannot be had or must not be, storage does not open, or the settings are wrong.
    """
    logs.configure(settings.server.log_level, settings.server.log_format)
    _allow_many_connections()
    hypercorn_patches.apply()
    check_open_to_others(settings)
    check_certificate(settings)
    listeners = listen(settings)
    service = Service(settings, addresses_of(settings, listeners))
    stop, failures = asyncio.Event(), list[Exception]()

    def fail(error: Exception) -> None:
        failures.append(error)
        stop.set()

    def ready() -> None:
        if not settings.storage.read_only:
            with contextlib.suppress(OSError):  # commands are told by --host and --port, then
                installation_of(settings.storage).announce(service.addresses.local_url())
        print(banner(service), flush=True)

    async with service.running(ready, fail):
        where = service.addresses.local_url()
        print(f"Pinyon is starting on {where} (loading models takes some seconds) ...", flush=True)
        _on_signals(stop, service)
        errors = ConnectionErrors()
        errors.watch(asyncio.get_running_loop())
        ending = asyncio.create_task(_end(service, stop, settings.server.shutdown_grace_s))
        await hypercorn_serve(create_app(service), config_for(settings, listeners), shutdown_trigger=stop.wait)
        ending.cancel()
        await asyncio.sleep(0)  # for callbacks of the connections that have just ended
        errors.sum_up()
    if failures:
        raise failures[0]
    print("Pinyon has stopped; all data is on disk.", flush=True)
    return 0


LAST_RESORT_S = 15.0
"""Seconds after the grace when the process ends, whatever still holds it."""


def _on_signals(stop: asyncio.Event, service: Service) -> None:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def begin_to_stop() -> None:
        if service.readiness.loading:
            waits = "what is being opened or loaded comes to its end first"
        else:
            waits = f"requests have {service.settings.server.shutdown_grace_s:g} s to be answered"
        print(f"Pinyon is stopping: {waits}. Ask again to end it at once.", flush=True)
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
    service.executor.refuse_waiting()
    await asyncio.sleep(grace_s * 0.1 + LAST_RESORT_S)
    log.error("connections do not end; the process does")
    os._exit(1)  # what was acknowledged is on disk; the next start replays the log


def banner(service: Service) -> str:
    """What is served, who answers, where the data lies, and one line to try."""
    settings, indexes = service.settings, service.parts.indexes
    url = service.addresses.local_url()
    trouble, broken = indexes.trouble(), indexes.unusable()
    failing = trouble.keys() | broken.keys()
    but = f", but not {', '.join(sorted(failing))}; see below" if failing else ""
    lines = [f"Pinyon is ready on {url}{but}"]
    if service.addresses.public_url:
        lines.append(f"  public   {service.addresses.public_url}")
    for index in indexes.all():
        spec = index.spec
        lines.append(f"  index    {spec.name}: {_kind(spec)}, {spec.metric}, on {indexes.url(index)}")
        if spec.embed is not None:
            embedder = indexes.loaded_embedder(index)
            answer = embedder.label if embedder else f"nobody: {trouble.get(spec.name)}"
            lines.append(f"           field '{spec.embed.text_field}' embedded by {answer}")
    for name, why in broken.items():
        lines.append(f"  index    {name}: CANNOT BE USED. {why}")
    for folder in indexes.set_aside():
        lines.append(f"  aside    {Path(settings.storage.data_dir).resolve() / 'set-aside' / folder}")
    if not indexes.all() and not indexes.unusable():
        lines.append("  index    none yet; clients can create some, or the [index] table of the settings file one")
    if service.addresses.index_host:
        lines.append(f"  further  indexes under {service.addresses.index_host}")
    elif service.addresses.index_ports:
        lines.append(f"  further  indexes on the ports {settings.server.index_ports}")
    for model in service.inference.known_models():
        if model.answer is not None:
            stand_in = f": STAND-IN, answered by {model.answer.by}" if model.answer.stand_in else ""
            lines.append(f"  model    {model.name if stand_in else model.answer.label}{stand_in}")
    lines.append(f"  data     {Path(settings.storage.data_dir).resolve()}")
    if service.keys.required():
        lines.append("  keys     every request needs the header Api-Key")
    else:
        lines += _without_keys(settings)
        if indexes.default is not None and indexes.default not in failing:
            lines += ["Try it:", "  " + _example(url, indexes.spec(indexes.default), _trust(settings))]
    return "\n".join(lines)


def _without_keys(settings: Settings) -> list[str]:
    if is_loopback(settings.server.host) and not settings.server.insecure:
        who = "only programs on this machine are answered"
    else:
        who = "ANYBODY who reaches this address can read and change the data (--insecure)"
    return [f"  WARNING  no API key is set: {who}.", "           Make one with: pinyon keys create NAME"]


def _kind(spec: IndexSpec) -> str:
    return "sparse vectors" if spec.sparse else f"{spec.dimension} dimensions"


def _trust(settings: Settings) -> str:
    """What curl must be told to trust the certificate: the authority beside it that `pinyon certs` made."""
    if not settings.server.tls_cert:
        return ""
    authority = Path(settings.server.tls_cert).with_name("ca.pem")
    return f"--cacert {authority} " if authority.exists() else ""


def _example(url: str, spec: IndexSpec, trust: str) -> str:
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
    lines = (f"curl -s {trust}{url}{path} -d '{json.dumps(body)}'" for path, body in zip(paths, bodies, strict=True))
    return " && ".join(lines)


def _allow_many_connections() -> None:
    """Lift the limit on open files to the most this user may have: running out of them is hard to recover from."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
