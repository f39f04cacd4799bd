"""The addresses of indexes. Data-plane URLs have no index name, so every index needs its own host name or port."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from pinyon.errors import FailedPrecondition


class Addresses(msgspec.Struct, frozen=True):
    """The addresses of one server.

    host: the name of this server, used if a request has no Host header. port: the main port, where the default index
    answers. index_ports: the ports that are open for indexes. port_range: the ports that the settings ask for; other
    programs may use some of them. index_host: pattern of host names with {index}, used instead of ports. public_url:
    scheme, host and perhaps port of a proxy in front of the server.
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
        """Whether indexes have their own ports, and not their own host names."""
        return not self.index_host

    def check_room(self) -> None:
        """Raises FailedPrecondition if no index can be reached except the default one."""
        if self.by_port and not self.port_range:
            raise FailedPrecondition(
                "This server has no addresses for further indexes; start it with --index-ports 5081-5100 or "
                "--index-host '{index}.example.com'"
            )

    def url(self, index: str, port: int | None, reached_as: str | None = None) -> str:
        """The URL of an index, with its scheme. port: the index's own port; None if it answers on the main port.

        reached_as: the Host header of the current request, because a server does not know all of its names.
        """
        public = urlsplit(self.public_url or self.local_url(reached_as))
        if self.by_port:
            return _url(public.scheme, public.hostname or "", public.port if port is None else port)
        return _url(public.scheme, self.index_host.replace("{index}", index), public.port)

    def local_url(self, reached_as: str | None = None) -> str:
        """The URL of the main port on this machine, without a proxy."""
        name = _hostname(reached_as or "") or self.host
        return _url("https" if self.tls else "http", name, self.port)

    def index_named(self, host: str) -> str | None:
        """The name of the index in a Host header or an :authority, or None."""
        if self.by_port:
            return None
        pattern = re.escape(self.index_host).replace(re.escape("{index}"), "([a-z0-9-]+)")
        name = re.fullmatch(pattern, _hostname(host), re.IGNORECASE)
        return name.group(1) if name else None


def _hostname(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _url(scheme: str, name: str, port: int | None) -> str:
    shown = f"[{name}]" if ":" in name else name
    usual = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{shown}" if port in (None, usual) else f"{scheme}://{shown}:{port}"
