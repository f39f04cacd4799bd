"""Where indexes answer. Data-plane URLs carry no index name, so that every index needs a host or a port of its own."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from pinyon.errors import FailedPrecondition


class Addresses(msgspec.Struct, frozen=True):
    """The addresses of one server.

    host: the name this server calls itself where a request does not say how it was reached. port: the main port, where
    the default index answers. index_ports: those that are bound for indexes; port_range: those that were asked for,
    of which some may be busy. index_host: host names for indexes instead, with {index}. public_url: scheme, host and
    perhaps port under which a proxy is reached.
    """

    host: str
    port: int
    index_ports: Sequence[int] = ()
    port_range: Sequence[int] = ()
    index_host: str = ""
    public_url: str = ""
    tls: bool = False

    @property
    def by_port(self) -> bool:
        """Whether indexes have ports of their own, and not host names."""
        return not self.index_host

    def check_room(self) -> None:
        """Raises FailedPrecondition if indexes besides the default one could not be reached at all."""
        if self.by_port and not self.port_range:
            raise FailedPrecondition(
                "This server has no addresses for further indexes; start it with --index-ports 5081-5100 or "
                "--index-host '{index}.example.com'"
            )

    def url(self, index: str, port: int | None, reached_as: str | None = None) -> str:
        """The URL of an index, scheme included. port: its own, or None if it answers on the main port.

        reached_as: the Host header of the request that asks, because a server cannot know all of its own names.
        """
        public = urlsplit(self.public_url or self.local_url(reached_as))
        if self.by_port:
            return _url(public.scheme, public.hostname or "", public.port if port is None else port)
        return _url(public.scheme, self.index_host.replace("{index}", index), public.port)

    def local_url(self, reached_as: str | None = None) -> str:
        """The URL of the main port on this machine, whatever stands before it."""
        name = _hostname(reached_as or "") or self.host
        return _url("https" if self.tls else "http", name, self.port)

    def index_named(self, host: str) -> str | None:
        """The index a Host header or an :authority names, or None."""
        if self.by_port:
            return None
        pattern = re.escape(self.index_host).replace(re.escape("{index}"), "([a-z0-9-]+)")
        found = re.fullmatch(pattern, _hostname(host), re.IGNORECASE)
        return found.group(1) if found else None


def _hostname(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _url(scheme: str, name: str, port: int | None) -> str:
    shown = f"[{name}]" if ":" in name else name
    usual = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{shown}" if port in (None, usual) else f"{scheme}://{shown}:{port}"
