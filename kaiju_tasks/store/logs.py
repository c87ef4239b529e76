"""The log lines of an attempt, as a store keeps them: consecutive lines together, in one row."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.protocol import Lease

KEPT_BYTES = 256 * 1024
"""What is kept of an attempt: the first half of it, and the last."""
HALF_BYTES = KEPT_BYTES // 2
HELD_SECONDS = 600.0
"""An executor may write for an attempt that has ended so long ago: it may have been cut off."""


class Attempt(NamedTuple):
    """Which attempt of which stage. Attempts of a run are in the order of their values.

    :ivar cycle: the number of retries from the first stage
    :ivar attempt: from 1
    """

    job_id: str
    cycle: int
    stage: int
    attempt: int


class StoredLine(Struct, frozen=True, array_like=True):
    """A line.

    :param n: its number within the attempt, from 1; missing numbers were left out
    :param at: UNIX seconds
    :param fields: an object, or null
    """

    n: int
    at: float
    level: str
    source: str
    message: str
    fields: Raw = Raw(b"null")


class LogChunk(Struct, frozen=True):
    """Consecutive lines that an executor writes.

    :param lease: the lease under which the attempt runs or has run
    :param n: the number of the first line
    :param last: the number of the last line
    :param size: the bytes that count against KEPT_BYTES
    :param body: the lines as JSON, see `encode_lines`
    :param executor_id: who writes them
    :param app_names: the streams that it serves
    """

    lease: Lease
    attempt: Attempt
    n: int
    last: int
    size: int
    body: str
    executor_id: str
    app_names: Sequence[str]


class WrittenChunk(Struct, frozen=True):
    """A chunk that was written, and the task as it then was.

    :param upto: the bytes of the attempt up to the end of the chunk
    """

    attempt: Attempt
    n: int
    upto: int
    status: str
    stages: int


class LogPosition(NamedTuple):
    """A place after a line of a run."""

    cycle: int
    stage: int
    attempt: int
    n: int


class LogQuery(Struct, frozen=True):
    """The lines of a run.

    :param stage: of this stage only
    :param attempt: of attempts with this number only
    :param after: only lines after this place
    :param above: only lines with a number above this one
    """

    job_id: str
    stage: int | None = None
    attempt: int | None = None
    after: LogPosition | None = None
    above: int = 0


class LogPart(Struct, frozen=True):
    """Some lines that were read, with others that come just before or after them."""

    attempt: Attempt
    last: int
    body: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[StoredLine]).decode


def encode_lines(lines: Sequence[StoredLine]) -> str:
    """The lines as JSON."""
    return _encode(lines).decode()


def decode_lines(body: str) -> list[StoredLine]:
    """:raises msgspec.DecodeError: they are not what `encode_lines` has returned"""
    return _decode(body)


def trimmed(written: Sequence[WrittenChunk]) -> dict[Attempt, int]:
    """The attempts that have more bytes than are kept, and how many they have."""
    return {one.attempt: one.upto for one in written if one.upto > KEPT_BYTES}


def chunk_values(chunk: LogChunk) -> tuple[object, ...]:
    """The values of a chunk, in the order of the columns `log_chunks`."""
    lease = chunk.lease
    return (
        lease.id,
        *chunk.attempt,
        lease.epoch,
        lease.nonce,
        chunk.n,
        chunk.last,
        chunk.size,
        chunk.body,
        chunk.executor_id,
        _encode(chunk.app_names).decode(),
        HELD_SECONDS,
    )
