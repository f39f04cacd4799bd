"""A network between Pinyon and PostgreSQL that is slow, loses connections, or falls silent: a proxy."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

CHUNK = 16_384


class Network:
    """delay_s: of every chunk of bytes, in each direction. cut_after: connections end after about so many chunks.

    is_silent: whether nothing comes through any more, which neither side is told.
    """

    def __init__(self, dice: random.Random) -> None:
        self.delay_s, self.cut_after, self.is_silent, self.port, self.cuts = 0.0, 0, False, 0, 0
        self._dice = dice

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, socket: Path) -> None:
        """Join a connection of a client with one to the server."""
        writers, tasks = [writer], list[asyncio.Task[None]]()
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(str(socket))
            writers.append(server_writer)
            ways = [self._forward(reader, server_writer), self._forward(server_reader, writer)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in writers:
                each.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await asyncio.sleep(self.delay_s)
                while self.is_silent:
                    await asyncio.sleep(0.1)
                if self.cut_after and self._dice.random() < 1 / self.cut_after:
                    self.cuts += 1
                    return
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def network_to(socket: Path, dice: random.Random) -> AsyncIterator[Network]:
    """A network to the server at a Unix socket, from a port of this machine."""
    network, tasks = Network(dice), set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(network.connected(reader, writer, socket))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        server.close()
        await server.wait_closed()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)  # the transports close after this
