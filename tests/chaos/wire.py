"""The network between managers and their database, with faults."""

import asyncio
import re
from typing import Literal

from tests.support.proxy import Proxy, Silence

Cut = Literal["before", "after"]
COMMIT = b"COMMIT"
PRESUMED = b"FROM valid"
"""A part of the statements that are transactions of their own (decision 33)."""
_PARSE = re.compile(rb"P.{4}(__asyncpg_stmt_\w+__)\x00([^\x00]*)", re.DOTALL)
_BIND = re.compile(rb"B.{4}\x00(__asyncpg_stmt_\w+__)\x00", re.DOTALL)
"""Messages of PostgreSQL's protocol, version 3: asyncpg sends the text of a statement once for each
connection, and afterwards its name."""
KEEPALIVE_SECONDS = 21.0
"""The time until the server notices by TCP keepalives that a connection is dead, as managers set
them. Here they are answered, so the connection is ended in their place."""


class Wire(Proxy):
    """Forwards connections to a PostgreSQL server of this machine.

    :ivar commits_cut: number of commits that were cut so far
    :ivar cutting: held while a fault waits until a commit is cut
    """

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.commits_cut = 0
        self.cutting = asyncio.Lock()
        self._cut_next: Cut | None = None
        self._delay = 0.0

    def cut_next_commit(self, when: Cut | None) -> None:
        """Abort the connection that sends the next COMMIT, or a statement that is a transaction:
        before the server gets it, or after the server has it and before the answer arrives."""
        self._cut_next = when

    def delay_commits(self, seconds: float) -> None:
        """Hold everything that commits back for some seconds; 0 ends it."""
        self._delay = seconds

    async def _questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence: Silence
    ) -> None:
        presumed: set[bytes] = set()
        while data := await reader.read(65_536):
            if silence.questions:
                continue
            presumed |= {name for name, text in _PARSE.findall(data) if PRESUMED in text}
            commits = COMMIT in data or not presumed.isdisjoint(_BIND.findall(data))
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
