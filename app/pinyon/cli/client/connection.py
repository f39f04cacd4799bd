"""Which server a command talks to: one by its address, or whichever process can open the data folder."""

import argparse
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from pinyon.cli.client.api import Address, Api
from pinyon.cli.client.in_process import InProcessTransport
from pinyon.cli.client.transport import HttpTransport
from pinyon.cli.common import key_variable, local_tls, server_url, settings_of


@asynccontextmanager
async def connected(options: argparse.Namespace) -> AsyncIterator[Api]:
    """The server that the options name, or the services in this process if no server has the data folder open.

    Raises FailedPrecondition if there is no data folder.
    """
    settings = settings_of(options)
    if options.url is None:
        async with connected_by(settings, options.key) as api:
            yield api
        return
    key = options.key or os.environ.get(key_variable(options.url), "")
    api = Api(HttpTransport(key), Address(options.url.rstrip("/")))
    try:
        yield api
    finally:
        await api.close()


@asynccontextmanager
async def connected_by(settings: Any, key: str | None) -> AsyncIterator[Api]:
    """The server that has the data folder of these settings open, or the services in this process if there is none.

    Raises FailedPrecondition if there is no data folder.
    """
    from pinyon.storage.engines import installation_of

    installation = installation_of(settings.storage)
    installation.require()
    if installation.holder() is None:
        async with in_this_process(settings) as api:
            yield api
        return
    url = server_url(settings)
    transport = HttpTransport(key or settings.server.api_key, local_tls())
    api = Api(transport, Address(url), lambda name, host: local_address(settings, url, name, host))
    try:
        yield api
    finally:
        await api.close()


def local_address(settings: Any, url: str, name: str, host: str) -> Address:
    """Where an index answers on a server on this machine. url: of the server. host: as the server describes the index.

    The server may have been started with options that this command was not given. So the server's word counts: if no
    proxy stands in front of it, only a host name of the index's own differs from the server's.
    """
    of_server, of_index = settings.server, settings.index
    authority = host.rpartition("//")[2]
    told, here = urlsplit(f"//{authority}"), urlsplit(url)
    if of_server.index_host or (told.hostname != here.hostname and not of_server.public_url):
        return Address(url, authority)
    if (of_index is not None and of_index.name == name) or told.port is None:
        return Address(url)
    return Address(re.sub(r":\d+$", f":{told.port}", url))


@asynccontextmanager
async def in_this_process(settings: Any) -> AsyncIterator[Api]:
    """The services on the data folder, in this process. Raises PinyonError if they cannot start."""
    import asyncio

    from pinyon.api.rest.paths import RawPaths
    from pinyon.asgi import rest_app
    from pinyon.server import Service
    from pinyon.services.control_plane.addresses import Addresses

    # Nobody else sends requests to this process, so no index needs a port.
    service = Service(settings, Addresses("localhost", 0, index_host="{index}.localhost"))
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with service.running(lambda: begun.set_result(None), begun.set_exception):
        await begun
        api = Api(InProcessTransport(RawPaths(rest_app(service))), Address("http://localhost"))
        yield api
