"""A proxy whose connections can be cut, lose answers, or fall silent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from tests.support.ports import free_port


class Proxy:
    """Hands bytes on between clients and one server.

    :ivar port: on 127.0.0.1
    :ivar lose: how many of the next answers are lost: the connection ends in their place
    :ivar lost: answers lost so far
    :ivar mute: whether new connections are silent from the start
    :ivar muted: connections that were silent from the start
    :ivar silent_after: a connection falls silent after it has passed this on to the server
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._silences: dict[Silence, None] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self.port = free_port()
        self.lose = 0
        self.lost = 0
        self.mute = False
        self.muted = 0
        self.silent_after: bytes | None = None

    async def open(self) -> None:
        """Take connections; the port stays the same."""
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Refuse connections, and cut those there are."""
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._serving)

    def cut(self) -> None:
        """Cut the connections there are."""
        for silence in self._silences:
            silence.over.set()
        for writer in list(self._writers):
            writer.transport.abort()

    def cut_one(self, random: Random) -> None:
        """Cut one of the connections, if there are any."""
        if self._silences:
            one = random.choice(list(self._silences))
            one.over.set()
            for writer in one.writers:
                writer.transport.abort()

    def silence(self, *, answers_only: bool = False) -> None:
        """Drop all that the present connections send from now on, as a firewall does that has lost
        its state. They stay open, and new connections work.

        :param answers_only: whether what clients send still reaches the server
        """
        for one in self._silences:
            one.answers = True
            one.questions |= not answers_only

    def silence_one(self, random: Random) -> None:
        """As `silence`, for one of the connections, if there are any."""
        if self._silences:
            one = random.choice(list(self._silences))
            one.questions = one.answers = True

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        if self._server is None or not self._server.is_serving():
            for end in (writer, to_server):
                end.transport.abort()
            return
        self._writers |= {writer, to_server}
        silence = Silence(writer, to_server)
        silence.questions = silence.answers = self.mute
        self.muted += self.mute
        self._silences[silence] = None
        ways = [
            asyncio.create_task(self._questions(reader, to_server, silence)),
            asyncio.create_task(self._answers(upstream, writer, silence)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            del self._silences[silence]
            for end in (writer, to_server):
                self._writers.discard(end)
                end.transport.abort()

    async def _questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence: "Silence"
    ) -> None:
        while data := await reader.read(65_536):
            if not silence.questions:
                writer.write(data)
                if self.silent_after is not None and self.silent_after in data:
                    silence.questions = silence.answers = True
        await silence.keep(silence.questions)

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence: "Silence"
    ) -> None:
        while data := await reader.read(65_536):
            if self.lose:
                self.lose -= 1
                self.lost += 1
                return
            if not silence.answers:
                writer.write(data)
        await silence.keep(silence.answers)


class Silence:
    """What a connection drops; the news that one end has closed it, too.

    :param writers: to both ends
    """

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = writers
        self.questions = self.answers = False
        self.over = asyncio.Event()

    async def keep(self, silent: bool) -> None:
        """Return unless one end must not learn that the other one is closed."""
        if silent:
            await self.over.wait()


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """A proxy to a port of this machine."""
    made = Proxy(target)
    await made.open()
    try:
        yield made
    finally:
        await made.close()
