"""Files in object stores and on web servers, read by fsspec and its own drivers, an extra.

Credentials are those that the drivers find: the usual variables and files of the store's own tools.
"""

import asyncio
import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from pinyon.errors import InvalidArgument, PinyonError
from pinyon.services.imports.sources import SourceFile, SourceUnavailable, not_allowed, only_file, source_files

BLOCK = 8 * 1024 * 1024
"""Bytes that are read at a time."""
CONNECT_S, READ_S = 10, 60
"""Seconds that a store may take to accept a connection, and between two parts of an answer."""
UNCACHED = {"skip_instance_cache": True, "use_listings_cache": False}
"""Options of a driver that looks anew each time, because files and credentials may have come meanwhile."""


class RemoteFiles:
    """A file or a folder at an address that is allowed. Web servers have no folders."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._scheme = address.partition("://")[0]
        self._driver: Any = None

    def files(self) -> list[SourceFile]:
        with self._reading():
            files = self._files()
            if self._is_bucket():  # to describe a bucket takes a permission that readers of its files may not have
                root = urlsplit(self._address).netloc + "/"
            else:
                info = files.info(self._address)
                if info["type"] == "file":
                    name = urlsplit(self._address).path if self._scheme in WEB else self._address
                    return [only_file(self._address, self._address, name.rpartition("/")[2], info["size"])]
                root = str(info["name"]).rstrip("/") + "/"
            infos = files.find(self._address, detail=True)
            return source_files(
                self._address,
                [(path, path.removeprefix(root).split("/"), info["size"]) for path, info in infos.items()],
            )

    def open(self, file: SourceFile) -> BinaryIO:
        with self._reading():
            stream = self._files().open(file.path, "rb", block_size=BLOCK, cache_type="readahead")
        return io.BufferedReader(_Stream(stream, self._reading))

    def _is_bucket(self) -> bool:
        return self._scheme not in WEB and not urlsplit(self._address).path.strip("/")

    def _files(self) -> Any:
        if self._driver is None:
            try:
                self._driver = DRIVERS[self._scheme]()
            except ImportError as error:
                raise SourceUnavailable(
                    f"The libraries that read {self._scheme}:// cannot be loaded ({error}); install them with: "
                    "pip install 'pinyon[cloud]'"
                ) from None
        return self._driver

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what the drivers raise into errors of Pinyon. Each store has exceptions of its own."""
        try:
            yield
        except PinyonError:
            raise
        except FileNotFoundError as error:
            cause = error.__cause__
            if isinstance(cause, PinyonError):
                raise cause from None
            # fsspec says "not found" of every error of a web server.
            if self._scheme in WEB and getattr(cause, "status", None) != 404:
                raise SourceUnavailable(f"{self._address} cannot be read: {_in_words(cause or error)}") from None
            raise InvalidArgument(f"There is nothing at {self._address}") from None
        except Exception as error:
            raise SourceUnavailable(f"{self._address} cannot be read: {_in_words(error)}") from None


class _Stream(io.RawIOBase):
    """A stream of a driver, whose errors are turned into those of Pinyon. reading: does so."""

    def __init__(self, stream: Any, reading: Callable[[], AbstractContextManager[None]]) -> None:
        self._stream, self._reading = stream, reading

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._reading():
            return int(self._stream.seek(offset, whence))
        raise AssertionError  # reading() lets no error pass

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        with self._reading():
            content = self._stream.read(len(buffer))
            buffer[: len(content)] = content
            return len(content)
        raise AssertionError

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _amazon() -> Any:
    import s3fs

    timeouts = {"connect_timeout": CONNECT_S, "read_timeout": READ_S}
    driver = s3fs.S3FileSystem(config_kwargs={**timeouts, "retries": {"max_attempts": 2}}, **UNCACHED)
    driver.close_session = _close_client
    return driver


def _close_client(loop: asyncio.AbstractEventLoop | None, client: Any) -> None:
    """Close a client of s3fs when its driver is collected, on the event loop that it belongs to.

    The driver's own function takes the loop that runs at that moment, which may be the one of the server.
    """
    if loop is not None and loop.is_running():
        asyncio.run_coroutine_threadsafe(client.__aexit__(None, None, None), loop)


def _google() -> Any:
    """The driver of Google's JSON API.

    gcsfs has a second one, which also speaks gRPC. It asks for the kind of the bucket before each read. With an
    emulator, or without credentials, there is no answer, and each question takes up to a minute.
    """
    import aiohttp
    from gcsfs.core import GCSFileSystem

    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs a trace of each error, and the import says it
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S)
    return GCSFileSystem(requests_timeout=timeout, **UNCACHED)


def _web() -> Any:
    from fsspec.implementations.http import HTTPFileSystem

    return HTTPFileSystem(get_client=_client, **UNCACHED)


async def _client(**options: Any) -> Any:
    """A web client that follows no redirects, because they would lead to an address that nobody has allowed."""
    import aiohttp

    async def refuse(*_: Any) -> None:
        raise not_allowed()

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return aiohttp.ClientSession(trace_configs=[trace], **options)


WEB = ("http", "https")
DRIVERS: dict[str, Callable[[], Any]] = {"s3": _amazon, "gs": _google, "http": _web, "https": _web}
