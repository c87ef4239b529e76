"""The network between managers and their database, with faults."""

import asyncio
from typing import Literal

from tests.support.proxy import Proxy, Silence

Cut = Literal["before", "after"]
COMMIT = b"COMMIT"
KEEPALIVE_SECONDS = 21.0
"""The time until the server notices by TCP keepalives that a connection is dead, as managers set
them. Here they are answered, so the connection is ended in their place."""


class Wire(Proxy):
    """Forwards connections to a PostgreSQL server of this machine.

    :ivar commits_cut: number of commits that were cut so far
    """

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.commits_cut = 0
        self._cut_next: Cut | None = None
        self._delay = 0.0

    def cut_next_commit(self, when: Cut | None) -> None:
        """Abort the connection that sends the next COMMIT: before the server gets it, or after
        the server has it and before the answer arrives."""
        self._cut_next = when

    def delay_commits(self, seconds: float) -> None:
        """Hold every COMMIT back for some seconds; 0 ends it."""
        self._delay = seconds

    async def _questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence: Silence
    ) -> None:
        while data := await reader.read(65_536):
            if silence.questions:
                continue
            commits = COMMIT in data
            if commits and self._delay:
                await asyncio.sleep(self._delay)
            if commits and self._cut_next is not None:
                when, self._cut_next = self._cut_next, None
                self.commits_cut += 1
                if when == "after":
                    silence.answers = True
                    writer.write(data)
                    await writer.drain()
                    writer.write_eof()
                    await asyncio.sleep(0.05)  # the server reads what was sent, then the end
                return
            writer.write(data)
        if silence.questions:  # the server does not learn that the client has closed it
            await asyncio.sleep(KEEPALIVE_SECONDS)
