"""The network between managers and their database, with faults."""

import asyncio
from typing import Literal

from tests.support.ports import free_port

Cut = Literal["before", "after"]
COMMIT = b"COMMIT"


class Wire:
    """Forwards connections to one server of this machine.

    :ivar port: on 127.0.0.1
    :ivar commits_cut: number of commits that were cut so far
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.commits_cut = 0
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._cut_next: Cut | None = None
        self._delay = 0.0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._serving)

    def cut(self) -> None:
        """Abort all connections."""
        for line in list(self._lines):
            line.abort()

    def cut_next_commit(self, when: Cut | None) -> None:
        """Abort the connection that sends the next COMMIT: before the server gets it, or after
        the server has it and before the answer arrives."""
        self._cut_next = when

    def delay_commits(self, seconds: float) -> None:
        """Hold every COMMIT back for some seconds; 0 ends it."""
        self._delay = seconds

    def fall_silent(self) -> None:
        """Carry nothing over the present connections, and leave them open. New ones work."""
        for line in self._lines:
            line.silent = True

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        line = _Line(writer, server)
        self._lines.add(line)
        ways = [
            asyncio.create_task(self._requests(line, reader, server)),
            asyncio.create_task(_answers(line, answers, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._lines.discard(line)
            line.abort()

    async def _requests(
        self, line: "_Line", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65_536):
            if line.silent:
                continue
            commits = COMMIT in data
            if commits and self._delay:
                await asyncio.sleep(self._delay)
            if commits and self._cut_next is not None:
                when, self._cut_next = self._cut_next, None
                self.commits_cut += 1
                if when == "after":
                    line.deaf = True
                    writer.write(data)
                    await writer.drain()
                    writer.write_eof()
                    await asyncio.sleep(0.05)  # the server reads what was sent, then the end
                return
            writer.write(data)


async def _answers(
    line: "_Line", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while data := await reader.read(65_536):
        if not line.silent and not line.deaf:
            writer.write(data)


class _Line:
    """One connection and its counterpart to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._ends = client, server
        self.silent = False
        self.deaf = False

    def abort(self) -> None:
        for end in self._ends:
            end.transport.abort()
