"""What both stores refuse."""

from collections.abc import Sequence

from kaiju_tasks.lifecycle import Step


def refuse_repeated(steps: Sequence[Step]) -> None:
    """:raises ValueError: two steps for one task in one batch, which is a fault of the caller"""
    if len({step.row.id for step in steps}) != len(steps):
        raise ValueError("a batch holds at most one step for a task")
