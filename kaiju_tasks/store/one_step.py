"""Refuses batches with several steps for one task, for both stores."""

from collections.abc import Sequence

from kaiju_tasks.lifecycle import Step


def refuse_repeated(steps: Sequence[Step]) -> None:
    """:raises ValueError: a batch has two steps for one task, which is a bug of the caller"""
    if len({step.row.id for step in steps}) != len(steps):
        raise ValueError("a batch must not have more than one step for a task")
