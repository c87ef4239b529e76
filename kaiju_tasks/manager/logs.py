"""Stores the log lines that executors send, in groups, outside the transactions of tasks."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.errors import Unavailable
from kaiju_tasks.manager.events.public import LogWritten
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.protocol import Lease, LoggedLine, StageLog
from kaiju_tasks.store.base import Store, StoreError
from kaiju_tasks.store.columns import storable
from kaiju_tasks.store.logs import Attempt, LogChunk, StoredLine, encode_lines
from kaiju_tasks.types import Limit

log = logging.getLogger(__name__)

LOGS_MAX, LINES_MAX = 500, 5_000
"""The most attempts and lines in one call."""
MESSAGE_MAX = 8_192
FIELDS_BYTES_MAX = 8_192
LINE_BYTES = 16
"""What each line counts beside its text, so that empty lines are bounded, too."""
CHUNK_BYTES = 8_192
"""Lines share a row until they have so many bytes."""
GROUP_BYTES = 1024 * 1024
SETTLE_SECONDS = 10.0
SWEEP_SECONDS = 60.0
SWEPT_MAX = 10_000
ID_MAX = 255
INT_MAX = 2**31 - 1
NUMBER_MAX = 2**53
LEVELS = frozenset({"debug", "info", "warning", "error"})
SOURCES = frozenset({"log", "output"})
NO_FIELDS = Raw(b"null")

_encode = msgspec.json.Encoder().encode


class _Piece(Struct, frozen=True):
    chunk: LogChunk
    lines: list[StoredLine]


class _Frame(Struct):
    """What one call writes, and its answer."""

    pieces: list[_Piece]
    answer: "asyncio.Future[int]"

    @property
    def size(self) -> int:
        return sum(piece.chunk.size for piece in self.pieces)


class LogKeeper:
    """Writes the lines of several calls in one transaction, one transaction after another.

    :param clock: approximate time of the store's clock, UNIX seconds
    :param on_written: called with what was stored, by attempt
    :param spawn: runs a coroutine until the manager stops
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        on_written: Callable[[list[LogWritten]], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_written = on_written
        self._spawn = spawn
        self._waiting: list[_Frame] = []
        self._writing: list[_Frame] = []
        self._busy = False
        self._unswept: dict[tuple[str, str], None] = {}
        self._to_sweep = asyncio.Event()
        self._sweeps = Loop(
            "deleting the log lines of deleted tasks",
            wait=self._until_sweep,
            work=self.sweep,
            retry_seconds=SWEEP_SECONDS,
        )

    def start(self) -> None:
        self._sweeps.start()

    async def stop(self) -> None:
        await self._sweeps.stop()

    async def write(self, logs: Sequence[StageLog], session: Session) -> int:
        """Store lines. What the executor neither holds nor has just held is left out.

        :returns: the number of lines that were stored, after the commit
        :raises StoreError: the database cannot be reached; nothing may have been stored
        """
        pieces = list(_pieces(logs, session, self._clock()))
        if not pieces:
            return 0
        frame = _Frame(pieces, asyncio.get_running_loop().create_future())
        self._waiting.append(frame)
        if not self._busy:
            self._busy = True
            self._spawn(self._write_all())
        return await frame.answer

    async def settled(self, job_id: str) -> None:
        """Wait until the lines of a run that have come before are stored, or cannot be."""
        if answers := self._unanswered(job_id):
            await asyncio.wait(answers, timeout=SETTLE_SECONDS)

    def unsettled(self, job_id: str) -> bool:
        """Whether there are lines of a run that `settled` would wait for."""
        return bool(self._unanswered(job_id))

    def _unanswered(self, job_id: str) -> "list[asyncio.Future[int]]":
        return [
            frame.answer
            for frame in (*self._writing, *self._waiting)
            if any(piece.chunk.attempt.job_id == job_id for piece in frame.pieces)
        ]

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                self._writing = self._take()
                if self._writing:
                    await self._write(self._writing)
                self._writing = []
        finally:
            self._busy = False
            left = (*self._writing, *self._waiting)
            self._writing, self._waiting = [], []
            for frame in left:
                if not frame.answer.done():  # the manager stops
                    frame.answer.set_exception(Unavailable("the manager is stopping"))

    def _take(self) -> list[_Frame]:
        """The frames of the next transaction, without those of callers that are gone: their
        executors send the lines again."""
        waiting = [frame for frame in self._waiting if not frame.answer.done()]
        taken, size = waiting[:1], 0
        for frame in waiting[1:]:
            size += frame.size
            if size > GROUP_BYTES:
                break
            taken.append(frame)
        self._waiting = waiting[len(taken) :]
        return taken

    async def _write(self, frames: list[_Frame]) -> None:
        chunks = _new(piece.chunk for frame in frames for piece in frame.pieces)
        try:
            written = await self._store.write_logs(chunks)
        except Exception as error:
            if not isinstance(error, StoreError):
                log.exception("log lines could not be stored")
            for frame in frames:
                if not frame.answer.done():
                    frame.answer.set_exception(error)
            return
        stored = {(chunk.attempt, chunk.n): chunk for chunk in written}
        latest: dict[Attempt, LogWritten] = {}
        for frame in frames:
            count = 0
            for chunk, lines in ((piece.chunk, piece.lines) for piece in frame.pieces):
                done = stored.pop((chunk.attempt, chunk.n), None)
                if done is not None:
                    count += len(lines)
                    latest[chunk.attempt] = LogWritten(
                        chunk.lease.id, chunk.executor_id, done, lines[-1]
                    )
            if not frame.answer.done():
                frame.answer.set_result(count)
        self._sweep_later(latest.values())
        self._on_written(list(latest.values()))

    # A task that is deleted while lines of it are written leaves them behind: the transaction that
    # deletes it does not see them, and they do not lock the task, which others need.

    def _sweep_later(self, written: Sequence[LogWritten] | Any) -> None:
        for one in written:
            if len(self._unswept) < SWEPT_MAX:
                self._unswept[one.chunk.attempt.job_id, one.task_id] = None
        self._to_sweep.set()

    async def _until_sweep(self) -> None:
        await self._to_sweep.wait()
        await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Delete lines whose tasks were deleted while they were written."""
        runs = list(self._unswept)
        if runs:
            await self._store.prune_logs(runs)
        for run in runs:
            del self._unswept[run]
        if not self._unswept:
            self._to_sweep.clear()


def _pieces(logs: Sequence[StageLog], session: Session, now: float) -> Iterator[_Piece]:
    app_names = sorted(session.app_names)
    for one in logs:
        if not _possible(one):
            continue
        attempt = Attempt(one.job_id, one.cycle, one.stage, one.attempt)
        lease = Lease(one.id, one.job_id, one.epoch, one.nonce)
        for lines, size in _chunks(one.lines, now):
            yield _Piece(
                LogChunk(
                    lease,
                    attempt,
                    lines[0].n,
                    lines[-1].n,
                    size,
                    encode_lines(lines),
                    session.executor_id,
                    app_names,
                ),
                lines,
            )


def _new(chunks: Iterable[LogChunk]) -> list[LogChunk]:
    """The chunks in order, without those with lines that an earlier one has: a store compares
    them with the stored lines only. Those of another executor are kept, because the store decides
    which one holds the task."""
    last: dict[tuple[Attempt, Lease, str], int] = {}
    new = []
    for chunk in sorted(chunks, key=lambda chunk: (chunk.attempt, chunk.n)):
        writer = (chunk.attempt, chunk.lease, chunk.executor_id)
        if chunk.n > last.get(writer, 0):
            last[writer] = chunk.last
            new.append(chunk)
    return new


def _possible(one: StageLog) -> bool:
    """Whether there can be such an attempt."""
    texts = (one.id, one.job_id, one.nonce)
    return (
        all(len(text) <= ID_MAX and storable(text) == text for text in texts)
        and 0 <= one.epoch <= INT_MAX
        and 0 <= one.cycle <= INT_MAX
        and 0 <= one.stage < Limit.MAX_STAGES
        and 1 <= one.attempt <= INT_MAX
    )


def _chunks(lines: Sequence[LoggedLine], now: float) -> Iterator[tuple[list[StoredLine], int]]:
    """The lines that share a row, and their size. Lines out of order are left out."""
    chunk: list[StoredLine] = []
    size, last = 0, 0
    for line in lines:
        if not last < line.n <= NUMBER_MAX:
            continue
        last = line.n
        stored = _stored(line, now)
        added = LINE_BYTES + len(stored.message.encode()) + len(memoryview(stored.fields))
        if chunk and size + added > CHUNK_BYTES:
            yield chunk, size
            chunk, size = [], 0
        chunk.append(stored)
        size += added
    if chunk:
        yield chunk, size


def _stored(line: LoggedLine, now: float) -> StoredLine:
    message = storable(line.message)
    if len(message) > MESSAGE_MAX:
        message = f"{message[:MESSAGE_MAX]}…"
    return StoredLine(
        line.n,
        now - min(max(line.ago, 0.0), now),
        line.level if line.level in LEVELS else "info",
        line.source if line.source in SOURCES else "log",
        message,
        _fields(line.fields),
    )


def _fields(fields: dict[str, Any] | None) -> Raw:
    if not fields:
        return NO_FIELDS
    encoded = _encode(fields)
    if len(encoded) > FIELDS_BYTES_MAX:
        encoded = _encode({"left_out": f"the fields have {len(encoded)} bytes"})
    return Raw(encoded)
