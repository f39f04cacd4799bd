"""Reads documents in a process of its own.

What a file makes a parser do is then bounded: its process may take so much memory and so much time, and a crash of
compiled code ends that process alone. The process reads one path after another, each a line of JSON, and answers with
the length of a message in 8 bytes and the message.
"""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import BinaryIO

import msgspec

from pinyon import decoding
from pinyon.documents.blocks import Document
from pinyon.errors import FailedPrecondition, InvalidArgument

MOST_MEMORY = 2 * 2**30
"""Bytes of address space that the process may have. Systems that do not count it do not bound it."""
MOST_SECONDS = 300.0
"""Time that one document may take. A report of thousands of pages takes about a minute."""


class Answer(msgspec.Struct):
    """A document, or why there is none. missing: of the installation, not of the file."""

    document: Document | None = None
    unreadable: str = ""
    missing: str = ""


class ReaderProcess:
    """A process that reads one document at a time. It is started with the first one. An async context manager."""

    def __init__(self) -> None:
        self._process: Process | None = None

    async def __aenter__(self) -> "ReaderProcess":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def read(self, path: Path) -> Document:
        """The document in a file. Raises as reading.read(), and InvalidArgument if it takes too much memory or time."""
        process = self._process = self._process or await _started()
        assert process.stdin is not None and process.stdout is not None
        try:
            async with asyncio.timeout(MOST_SECONDS):
                process.stdin.write(msgspec.json.encode(os.fsencode(path)) + b"\n")
                await process.stdin.drain()
                length = int.from_bytes(await process.stdout.readexactly(8), "big")
                answer = decoding.decode(await process.stdout.readexactly(length), Answer)
        except TimeoutError:
            await self._end()
            raise InvalidArgument(f"it takes longer than {MOST_SECONDS:.0f} s to read") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            status = await process.wait()
            self._process = None
            raise InvalidArgument(f"it is damaged: the process that read it ended with status {status}") from None
        except asyncio.CancelledError:
            await self._end()
            raise
        if answer.missing:
            raise FailedPrecondition(answer.missing)
        if answer.document is None:
            raise InvalidArgument(answer.unreadable)
        return answer.document

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _started() -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        __name__,
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,  # an interrupt from the terminal is for the command, which then ends this process
    )


def _answer(path: Path) -> Answer:
    from pinyon.documents import reading

    try:
        return Answer(reading.read(path))
    except InvalidArgument as error:
        return Answer(unreadable=error.message)
    except FailedPrecondition as error:
        return Answer(missing=error.message)


def _serve(paths: BinaryIO, answers: BinaryIO) -> None:
    for line in paths:
        message = msgspec.json.encode(_answer(Path(os.fsdecode(decoding.decode(line, bytes)))))
        answers.write(len(message).to_bytes(8, "big") + message)
        answers.flush()


def _bound_memory() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, hard))


if __name__ == "__main__":
    _bound_memory()
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        _serve(sys.stdin.buffer, answers)
