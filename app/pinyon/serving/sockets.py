"""The sockets that the server listens on, the checks before they open, and Hypercorn's configuration."""

import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from hypercorn.config import Config

from pinyon.api.guard import is_loopback
from pinyon.errors import FailedPrecondition
from pinyon.services.control_plane.addresses import Addresses
from pinyon.settings import Settings

log = logging.getLogger("pinyon.serving")


def check_open_to_others(settings: Settings, has_key: bool, is_shared: bool) -> None:
    """Raises FailedPrecondition if other machines can reach the address and there is no API key.

    is_shared: the keys are in a database, not in the data folder.
    """
    server = settings.server
    if server.insecure or is_loopback(server.host) or has_key:
        return
    where = ""
    if not is_shared:
        folder = Path(settings.storage.data_dir).resolve()
        with contextlib.suppress(OSError):  # `pinyon keys create` needs the folder and does not make it
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        where = f" --data-dir {folder}"
    raise FailedPrecondition(
        f"Listening on {server.host} without an API key would let anybody on the network read and change the data. "
        f"Make one with `pinyon keys create NAME{where}`, or set PINYON_SERVER_API_KEY; or use --host 127.0.0.1; or "
        "say --insecure (PINYON_SERVER_INSECURE=true) if something else keeps strangers out"
    )


def check_certificate(settings: Settings) -> None:
    """Raises FailedPrecondition if TLS is on and its files are not a certificate and its key."""
    certificate, key = settings.server.tls_cert, settings.server.tls_key
    if bool(certificate) != bool(key):
        raise FailedPrecondition("TLS needs both tls_cert and tls_key; `pinyon certs DIR` makes a pair")
    if certificate:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except OSError as error:  # includes ssl.SSLError
            raise FailedPrecondition(
                f"The TLS certificate {certificate} with the key {key} cannot be used: {error.strerror or error}. "
                "`pinyon certs DIR` makes a pair"
            ) from error


def listen(settings: Settings) -> list[socket.socket]:
    """The bound sockets: those of the main port, then those of the free ports of index_ports.

    A loopback port is bound for IPv4 and IPv6, because clients resolve localhost to one or the other. Raises
    FailedPrecondition if the main port is busy or the address is unknown.
    """
    server = settings.server
    try:
        listeners = _bind(server.host, server.port)
    except OSError as error:
        raise FailedPrecondition(_busy(server.host, server.port, error)) from error
    main, busy = listeners[0].getsockname()[1], []
    for port in () if server.index_host else server.index_port_range:
        if port != main:
            try:
                listeners += _bind(server.host, port)
            except OSError:
                busy.append(str(port))
    if busy:
        log.warning("ports of --index-ports that other programs have are left out: %s", ", ".join(busy))
    return listeners


def _busy(host: str, port: int, error: OSError) -> str:
    """Why the main port cannot be bound, and what to do."""
    if error.errno != errno.EADDRINUSE:
        return f"Cannot listen on {host}:{port}: {error.strerror or error}"
    who = "another program, perhaps another Pinyon,"
    return f"Cannot listen on {host}:{port}: {who} listens there already; stop it, or choose another port with --port"


PORTS_TRIED = 20
"""How many ports to try until one is free for both IPv4 and IPv6."""


def _bind(host: str, port: int) -> list[socket.socket]:
    """The sockets of a port. port: 0 for any free one."""
    if not is_loopback(host) or not _has_ipv6():
        return [_bind_one(host, port)]
    for _ in range(PORTS_TRIED):
        first = _bind_one("127.0.0.1", port)
        try:
            return [first, _bind_one("::1", first.getsockname()[1])]
        except OSError:
            first.close()
            if port:
                raise
    raise OSError(errno.EADDRINUSE, "no port is free in both address families")


def _has_ipv6() -> bool:
    """Whether this machine has the IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bind_one(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # now, because two programs can bind a port but only one can listen on it
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def addresses_of(settings: Settings, listeners: Sequence[socket.socket]) -> Addresses:
    """The addresses at which clients reach the server and its indexes."""
    server, ports = settings.server, list(dict.fromkeys(listener.getsockname()[1] for listener in listeners))
    return Addresses(
        host=_name(server.host),
        port=ports[0],
        index_ports=ports[1:],
        port_range=[port for port in server.index_port_range if port] or ports[1:],
        index_host=server.index_host,
        public_url=server.public_url,
        tls=bool(server.tls_cert),
    )


def _name(host: str) -> str:
    """The host name for URLs that programs on this machine use."""
    return "localhost" if host in ("127.0.0.1", "::1", "0.0.0.0", "::") else host


def config_for(settings: Settings, listeners: Sequence[socket.socket]) -> Config:
    """The configuration of Hypercorn, which takes over the sockets."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}" for listener in listeners]
    config.graceful_timeout = settings.server.shutdown_grace_s
    if settings.server.tls_cert:
        config.certfile, config.keyfile = settings.server.tls_cert, settings.server.tls_key
    # After the default of 1000 requests, Hypercorn closes a connection although calls are running on it.
    config.keep_alive_max_requests = 10**9
    config.keep_alive_timeout = 75
    config.backlog = 2048  # hundreds of clients may connect at once
    config.h11_max_incomplete_size = 1024 * 1024
    # Hypercorn's queue holds at most 1000 streams, itself included. Further streams wait at the client.
    config.h2_max_concurrent_streams = 500
    config.include_server_header = False
    config.loglevel = "WARNING"
    config.accesslog = config.errorlog = None
    return config
