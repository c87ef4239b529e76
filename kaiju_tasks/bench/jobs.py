"""Defines the jobs to measure."""

import random
import string

import msgspec
from msgspec import Struct

BATCH = 500
BATCH_BYTES = 500_000
LANES = 2


class Job(Struct, frozen=True):
    """A number of tasks, each with a number of no-op stages.

    :param payload: size of the parameters and of the result of each stage in bytes; 0 for a small
        object
    """

    name: str
    tasks: int
    stages: int = 1
    payload: int = 0

    @property
    def commands(self) -> list[dict[str, object]]:
        data = text_of(self.payload) if self.payload else {"n": 1}
        return [{"method": "do.echo", "params": {"data": data}}] * self.stages

    @property
    def batch(self) -> int:
        """The number of tasks that are created by one call."""
        return max(1, min(BATCH, BATCH_BYTES // max(1, self.payload * self.stages)))

    @property
    def body(self) -> str:
        """A definition that is as large as one of the manager's."""
        return msgspec.json.encode(
            {
                "id": "limit-0000",
                "app_name": "bench",
                "commands": self.commands,
                "created": "2026-01-01T00:00:00.000000+00:00",
            }
        ).decode()


def text_of(size: int) -> str:
    """Return a text that is always the same and that a database can compress only by a quarter."""
    return "".join(random.Random(size).choices(string.ascii_letters + string.digits, k=size))
