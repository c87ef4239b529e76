"""Reads what the process of a command prints, line by line, and passes it on."""

import asyncio
import contextlib
import os
import select
from collections import deque
from collections.abc import Callable

__all__ = ["Output"]

READ_BYTES = 65_536
LINE_BYTES_MAX = 8_000
PIECE_BYTES = 4_096
"""A pipe that can be written to takes so many bytes at once."""
PAUSE_SECONDS = 0.01
DRAIN_SECONDS = 1.0
LINES_AT_ONCE = 200
"""After so many lines, others get their turn: a read can bring thousands of short ones."""
STDERR = 2


class Output:
    """The pipe to which a process and its children print.

    What they print also goes to stderr of this process, as if they had inherited it. If nobody
    reads that, the process waits, and this one does not.

    :param take: called with each line
    """

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._read_end, self.write_end = os.pipe()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.ReadTransport | None = None

    async def open(self) -> None:
        """Begin to read. The process has been started with `write_end`, which is closed here."""
        os.close(self.write_end)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        self._transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._read_end, "rb")
        )
        self._task = loop.create_task(self._run(reader))

    def abandon(self) -> None:
        """Close both ends: there is no process."""
        os.close(self._read_end)
        os.close(self.write_end)

    async def close(self) -> None:
        """Read what is left after the process has ended. What a process that has got away still
        prints is not read."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=DRAIN_SECONDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()

    async def _run(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        lines: deque[bytes] = deque()
        try:
            while data := await reader.read(READ_BYTES):
                *read, rest = (rest + data).split(b"\n")
                lines.extend(read)
                while lines:
                    for _ in range(min(LINES_AT_ONCE, len(lines))):
                        self._line(lines.popleft())
                    await asyncio.sleep(0)
                while len(rest) > LINE_BYTES_MAX:
                    self._line(rest[:LINE_BYTES_MAX])
                    rest = rest[LINE_BYTES_MAX:]
                await _echo(data)
        finally:
            for line in lines:
                self._line(line)
            if rest:
                self._line(rest)

    def _line(self, line: bytes) -> None:
        self._take(line.removesuffix(b"\r").decode("utf-8", "replace"))


async def _echo(data: bytes) -> None:
    """Write to stderr. A closed one is no error of the command."""
    with contextlib.suppress(OSError, ValueError):
        for start in range(0, len(data), PIECE_BYTES):
            while not select.select([], [STDERR], [], 0)[1]:  # noqa: ASYNC110
                await asyncio.sleep(PAUSE_SECONDS)
            os.write(STDERR, data[start : start + PIECE_BYTES])
