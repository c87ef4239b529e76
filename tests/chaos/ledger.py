"""The ledger: a file outside the database in which commands record their starts and ends."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["start", "end", "stop"]
Work = tuple[str, int, int]
"""The work that must be accepted once: job id, stage and cycle."""


class Entry(msgspec.Struct, frozen=True):
    """One line of the ledger.

    :param kind: `start`; `end` when the command returned; `stop` when it raised or was stopped
    :param epoch: epoch of the lease under which the command runs
    :param nonce: nonce of that lease
    :param at: seconds of the machine's boot clock, which goes on while a process is frozen
    :param value: what the command returned; the same for the start and the end of one execution
    :param key: concurrency key that the task holds, if it has one
    """

    kind: Kind
    task: str
    job: str
    stage: int
    cycle: int
    attempt: int
    epoch: int
    nonce: str
    pid: int
    at: float
    value: str
    key: str | None = None

    @property
    def work(self) -> Work:
        return self.job, self.stage, self.cycle


_decoder = msgspec.json.Decoder(Entry)


def append(path: Path, *entries: Entry) -> None:
    """Append entries with one write, so that lines of several processes do not mix."""
    os.write(_opened(path), b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))


@cache
def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def read(path: Path) -> Iterator[Entry]:
    """Read the whole lines of a ledger, in the order in which they were written."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield _decoder.decode(line)
