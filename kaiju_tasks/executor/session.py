"""Speaks JSON-RPC over one connection: sends requests and matches them to their answers."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.executor.clock import Clock
from kaiju_tasks.executor.messages import Incoming, Request, RpcError, decode_frame, encode
from kaiju_tasks.executor.transport import Connection, ConnectionClosed, NoManagerThere
from kaiju_tasks.protocol import DEFAULT_FRAME_BYTES

__all__ = ["Answer", "FrameTooLarge", "Lost", "Session"]

logger = logging.getLogger("kaiju_tasks.executor")

REPORT = "manager.write_stage"


class FrameTooLarge(Exception):
    """The manager does not accept a frame of this size."""


class Lost:
    """Replaces the answer to a request if the connection ends before the answer arrives.

    :param frame_refused: whether the manager closed it because of a frame
    """

    def __init__(self, *, frame_refused: bool = False) -> None:
        self.frame_refused = frame_refused


Answer = Callable[[Raw | RpcError | Lost], None]


class Session:
    """The JSON-RPC session of a connection.

    :param on_notify: called with the method and the params of each notification
    :ivar max_frame_bytes: the largest frame of reports that the manager accepts
    :ivar lost: whether the connection has ended
    """

    def __init__(
        self, connection: Connection, clock: Clock, on_notify: Callable[[str, Raw], None]
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._on_notify = on_notify
        self._last_id = 0
        self._asked: dict[int, tuple[float, Answer]] = {}
        self._reports: set[int] = set()
        self._out: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._frame_refused = False
        self.max_frame_bytes = DEFAULT_FRAME_BYTES
        self.lost = False

    def request(self, method: str, params: Any, answer: Answer, *, patient: bool = False) -> None:
        """Send a request. `answer` is called once, with the result, an error or Lost.

        :param patient: whether the answer may take long: it says nothing about the connection
        :raises FrameTooLarge: the manager does not accept a frame of this size
        :raises Exception: the params cannot be encoded; then `answer` is not called
        """
        if self.lost:
            answer(Lost())
            return
        frame = encode(Request(self._last_id + 1, method, params))
        if (method == REPORT or patient) and len(frame) > self.max_frame_bytes:
            raise FrameTooLarge(
                f"it has {len(frame):,} bytes; at most {self.max_frame_bytes:,} are allowed"
            )
        self._last_id += 1
        self._asked[self._last_id] = (math.inf if patient else self._clock.time(), answer)
        if method == REPORT:
            self._reports.add(self._last_id)
        self._out.append(frame)
        self._wake.set()

    def oldest_unanswered(self) -> float | None:
        """The time of the oldest request without an answer, in seconds of the clock. Infinity if
        all their answers may take long."""
        return min((sent for sent, _ in self._asked.values()), default=None)

    async def run(self) -> None:
        """Receive and send until the connection ends. Raises ConnectionClosed."""
        writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writer, reader):
                task.cancel()
            try:
                outcomes = await asyncio.gather(writer, reader, return_exceptions=True)
                error = _first_error(outcomes)
                if isinstance(error, ConnectionClosed):
                    self._frame_refused = error.frame_refused
            finally:
                self._lose_all()  # even if this await is cancelled: every request gets its answer
        raise error

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._out:
                await self._connection.send(self._out.popleft())

    async def _read(self) -> None:
        while True:
            frame = await self._connection.receive()
            try:
                message = decode_frame(frame)
                self._take(message)
            except msgspec.DecodeError as error:
                raise NoManagerThere(f"it sent an invalid message: {error}") from error

    def _take(self, message: Incoming) -> None:
        if message.method is not None:
            self._on_notify(message.method, message.params)
            return
        if message.id is None and isinstance(message.error, RpcError):
            self._refuse_reports(message.error)
            return
        asked = self._asked.pop(message.id, None) if isinstance(message.id, int) else None
        if asked is None:
            return  # a repeated answer
        self._reports.discard(message.id)
        _, answer = asked
        answer(message.error if isinstance(message.error, RpcError) else message.result)

    def _refuse_reports(self, error: RpcError) -> None:
        """The manager could not read one of the frames. Only reports contain foreign data."""
        reports, self._reports = self._reports, set()
        for id in sorted(reports & self._asked.keys()):
            _, answer = self._asked.pop(id)
            answer(error)

    def _lose_all(self) -> None:
        self.lost = True
        asked, self._asked = self._asked, {}
        for _, answer in asked.values():
            answer(Lost(frame_refused=self._frame_refused))


def _first_error(outcomes: Iterable[object]) -> BaseException:
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            return outcome
    return ConnectionClosed("the connection has ended")
