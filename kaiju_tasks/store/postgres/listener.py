"""Wake-ups and messages between managers: NOTIFY, and a connection that listens."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.store.base import StoreError, ignore
from kaiju_tasks.store.postgres.errors import translated

PAYLOAD_BYTES = 7900
"""PostgreSQL takes less than 8000."""
PROBE_SECONDS = 15.0
RETRY_SECONDS = 0.2
RETRY_SECONDS_MAX = 5.0
EVERYTHING: frozenset[str] = frozenset()

Heard = Callable[[frozenset[str]], None]
Received = Callable[[bytes], None]
NO_MESSAGE = b"null"


class Wake(Struct):
    """What is sent: a message, or else topics. `topics` empty: look at everything."""

    sender: str
    topics: list[str]
    message: Raw = Raw(NO_MESSAGE)


_decode = msgspec.json.Decoder(Wake).decode


def channel_of(schema: str) -> str:
    """The channel of a schema; identifiers end at 63 bytes."""
    return f"kaiju_{schema}".encode()[:63].decode(errors="ignore")


class Wakes:
    """One manager's bridge and ears."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._sender = secrets.token_hex(8)
        self.channel = channel_of("")

    def payload(self, topics: Iterable[str]) -> str:
        """All topics as one message."""
        listed = sorted(set(topics))
        payload = msgspec.json.encode(Wake(self._sender, listed))
        if len(payload) > PAYLOAD_BYTES:
            payload = msgspec.json.encode(Wake(self._sender, []))
        return payload.decode()

    def message(self, message: bytes) -> str:
        """A message as what is sent."""
        return msgspec.json.encode(Wake(self._sender, [], Raw(message))).decode()

    @contextlib.asynccontextmanager
    async def listen(self, heard: Heard, received: Received = ignore) -> Any:
        """Listen in the background until the end of the block."""
        first_try = asyncio.Event()
        listening = self._listen(heard, received, first_try)
        task = asyncio.create_task(listening, name="kaiju-listen")
        try:
            await first_try.wait()
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _listen(self, heard: Heard, received: Received, first_try: asyncio.Event) -> None:
        """Each connection but the first begins with a look at everything."""
        delay, missed = RETRY_SECONDS, False
        while True:
            try:
                with translated():
                    connection = await self._connect()
                try:
                    with translated():
                        await connection.add_listener(self.channel, self._hearing(heard, received))
                        if missed:
                            heard(EVERYTHING)
                        first_try.set()
                        delay = RETRY_SECONDS
                        await _until_broken(connection)
                finally:
                    connection.terminate()
            except StoreError:
                missed = True
            first_try.set()
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_SECONDS_MAX)

    def _hearing(self, heard: Heard, received: Received) -> Callable[[Any, int, str, Any], None]:
        def hear(connection: Any, pid: int, channel: str, payload: Any) -> None:
            try:
                wake = _decode(payload)
            except msgspec.DecodeError:
                wake = Wake("", [])  # somebody else's, or a later version's
            if wake.sender == self._sender:
                return
            message = bytes(wake.message)
            if message == NO_MESSAGE:
                heard(frozenset(wake.topics))
            else:
                received(message)

        return hear


async def _until_broken(connection: Any) -> None:
    """Returns never: the error of a broken connection ends it."""
    broken = asyncio.Event()
    connection.add_termination_listener(lambda _: broken.set())
    while True:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await broken.wait()
        except TimeoutError:
            await connection.execute("SELECT 1", timeout=PROBE_SECONDS)
        else:
            raise ConnectionError("the listening connection is gone")
