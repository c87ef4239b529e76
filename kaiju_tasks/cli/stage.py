"""Stages in texts for people, counted from 1. In the API and in templates they count from 0."""

from collections.abc import Mapping
from typing import Any

__all__ = ["brief_stage", "failed_stage", "stage_of"]


def stage_of(task: Mapping[str, Any]) -> str:
    """Return the stage at which a task or a run stands, such as "stage 1 of 3".

    It is the stage that runs or is next; of a run that has finished, the last one.
    """
    return f"stage {_number(task)} of {task['stages']}"


def brief_stage(task: Mapping[str, Any]) -> str:
    """Return the same for a column of a table, such as "1/3"."""
    return f"{_number(task)}/{task['stages']}"


def failed_stage(task: Mapping[str, Any]) -> str:
    """Return the stage of a task's error, such as "stage 1 of 3"; empty if it has none."""
    stage = task["error"]["stage"]
    return "" if stage is None else f"stage {stage + 1} of {task['stages']}"


def _number(task: Mapping[str, Any]) -> int:
    """The API's `stage` is the number of stages that have ended."""
    return min(int(task["stage"]) + 1, int(task["stages"]))
