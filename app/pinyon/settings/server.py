"""The [server] section."""

from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from pinyon.settings.forms import API_KEY, FREE, INDEX_HOST, PORT_RANGE, PUBLIC_URL


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [server] section: where Pinyon listens and who may call it."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 5080
    index_ports: Annotated[
        str,
        Meta(
            pattern=PORT_RANGE,
            description="Ports (FIRST-LAST) for further indexes, one port for each; free:20 for 20 free ones, which "
            "change with each start; empty for none.",
        ),
    ] = "5081-5100"
    index_host: Annotated[
        str,
        Meta(
            pattern=INDEX_HOST,
            description="Pattern of host names for indexes, used instead of ports, such as {index}.search.example.com.",
        ),
    ] = ""
    public_url: Annotated[
        str,
        Meta(
            pattern=PUBLIC_URL,
            description="URL at which clients reach this server through a proxy, such as https://example.com.",
        ),
    ] = ""
    tls_cert: Annotated[str, Meta(description="File with the TLS certificate chain (PEM); empty for clear text.")] = ""
    tls_key: Annotated[str, Meta(description="File with the certificate's private key (PEM).")] = ""
    api_key: Annotated[
        str,
        Meta(
            pattern=API_KEY,
            description="A key that callers must send as Api-Key; `pinyon keys create` makes further ones.",
        ),
    ] = ""
    insecure: Annotated[
        bool,
        Meta(description="Serve other machines, host names and web pages although there is no API key."),
    ] = False
    shutdown_grace_s: Annotated[
        float, Meta(ge=0, description="Seconds that running requests get to finish after SIGTERM.")
    ] = 30.0
    console: Annotated[bool, Meta(description="Serve the web console at /console.")] = True
    mcp: Annotated[bool, Meta(description="Serve tools for agents (MCP) at /mcp; needs the extra pinyon[mcp].")] = False
    cors_origins: Annotated[
        tuple[str, ...], Meta(description="Origins of web pages that may call this server from a browser.")
    ] = ()
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Messages of this level and above are logged.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        Meta(description="Form of the log: text for people, json (one object per line) for programs."),
    ] = "text"
    access_log: Annotated[
        bool, Meta(description="Log one line per request: operation, status and time, but no content.")
    ] = False

    @property
    def index_port_range(self) -> Sequence[int]:
        """The ports of index_ports, to be listened on; 0 for any free one."""
        if not self.index_ports:
            return ()
        if self.index_ports.startswith(FREE):
            return [0] * int(self.index_ports.removeprefix(FREE))
        first, last = map(int, self.index_ports.split("-"))
        return range(first, last + 1)

    def __post_init__(self) -> None:
        ports = self.index_port_range
        try:
            fine = urlsplit(self.public_url or "http://x").port != 0
        except ValueError:
            fine = False
        if not fine or not urlsplit(self.public_url or "http://x").hostname:
            raise ValueError(f"public_url must be a URL such as https://example.com, got {self.public_url}")
        free = self.index_ports.startswith(FREE)
        if self.index_ports and not free and not (ports and ports[0] >= 1 and ports[-1] <= 65535):
            raise ValueError(f"index_ports must be a range of ports such as 5081-5100, got {self.index_ports}")
