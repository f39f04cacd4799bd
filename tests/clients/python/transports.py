"""The client's three ways to a server, behind one shape: REST, asyncio, and gRPC for the data plane."""

import asyncio
import contextlib
import inspect
import os
from collections.abc import Callable, Iterator
from typing import Any

from pinecone import Pinecone, PineconeAsyncio
from pinecone.exceptions import PineconeException
from pinecone.grpc import PineconeGRPC
from versions import GRPC_HAS_ERROR_CLASSES, GRPC_SPEAKS_RECORDS, TRUST


class Blocking:
    """An asynchronous object behind synchronous calls, so that one tour serves every transport."""

    def __init__(self, target: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._target, self._loop = target, loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return Blocking(found, self._loop)

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = found(*args, **kwargs)
            if hasattr(answer, "__aiter__"):
                return self._loop.run_until_complete(_collected(answer))
            return self._loop.run_until_complete(answer) if inspect.isawaitable(answer) else answer

        return call


async def _entered(make: Callable[[], Any]) -> Any:
    """An asynchronous client; client 7 wants to be made while the loop runs."""
    return await make().__aenter__()


async def _collected(answers: Any) -> list[Any]:
    return [one async for one in answers]


class Connection:
    """A client, and its handles on indexes."""

    def __init__(self, transport: str, client: Any, loop: asyncio.AbstractEventLoop, key: str) -> None:
        self.transport, self.client, self._loop, self._key = transport, client, loop, key
        self._open: list[Any] = []

    def index(self, name: str) -> Any:
        """An index by the host that describe_index tells."""
        return self.index_at(self.client.describe_index(name).host)

    def index_at(self, host: str) -> Any:
        """An index by its host."""
        if self.transport == "asyncio":
            handle = self._loop.run_until_complete(_entered(lambda: self.client.IndexAsyncio(host=host)))
            self._open.append(handle)
            return Blocking(handle, self._loop)
        return self.client.Index(host=host)

    def records_index(self, name: str) -> Any:
        """An index that takes texts; the gRPC index of client 7 does not."""
        if self.transport == "grpc" and not GRPC_SPEAKS_RECORDS:
            return Pinecone(api_key=self._key, **TRUST).Index(host=self.client.describe_index(name).host)
        return self.index(name)

    def refusal(self, kind: type[Exception]) -> type[Exception]:
        """What the data plane's refusals of this kind raise; the gRPC index of client 7 has one class for all."""
        return PineconeException if self.transport == "grpc" and not GRPC_HAS_ERROR_CLASSES else kind

    def close(self) -> None:
        """Close the asynchronous handles."""
        for handle in self._open:
            self._loop.run_until_complete(handle.__aexit__(None, None, None))


@contextlib.contextmanager
def connected(transport: str, key: str | None = None) -> Iterator[Connection]:
    """A connection to PINECONE_CONTROLLER_HOST with PINECONE_API_KEY, or with another key."""
    key = key or os.environ["PINECONE_API_KEY"]
    loop = asyncio.new_event_loop()
    try:
        if transport == "asyncio":
            client = loop.run_until_complete(_entered(lambda: PineconeAsyncio(api_key=key, **TRUST)))
            connection = Connection(transport, Blocking(client, loop), loop, key)
            yield connection
            connection.close()
            loop.run_until_complete(client.__aexit__(None, None, None))
        else:
            kind = PineconeGRPC if transport == "grpc" else Pinecone
            yield Connection(transport, kind(api_key=key, **TRUST), loop, key)
    finally:
        loop.close()
