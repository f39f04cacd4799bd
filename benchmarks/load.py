"""A thin load generator: clients that each send a request, wait for the answer, and send the next one."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import uvloop


def closed_loop(url: str, path: str, bodies: Sequence[bytes], clients: int) -> tuple[float, list[float]]:
    """Seconds that all requests of so many clients took together, and those of each request.

    bodies: of POST requests to this path. Raises RuntimeError if an answer is not a success.
    """
    return uvloop.run(_closed_loop(url, path, iter(bodies), clients))


async def _closed_loop(url: str, path: str, bodies: Iterator[bytes], clients: int) -> tuple[float, list[float]]:
    address = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
    seconds: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for body in bodies:
            begun = time.perf_counter()
            writer.write(head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            content = await reader.readexactly(length)
            seconds.append(time.perf_counter() - begun)
            if answer.split(b" ", 2)[1][:1] != b"2":
                raise RuntimeError(f"{answer.decode()}{content.decode()}")
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - begun, seconds
