"""Defines the jobs to measure."""

import msgspec
from msgspec import Struct

BATCH = 500
LANES = 2


class Job(Struct, frozen=True):
    """A number of tasks, each with a number of no-op stages."""

    name: str
    tasks: int
    stages: int

    @property
    def commands(self) -> list[dict[str, object]]:
        return [{"method": "do.echo", "params": {"data": {"n": 1}}}] * self.stages

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
