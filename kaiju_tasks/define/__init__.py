"""Checks of a client's data, and the definition made from it. Pure, without a transaction."""

from kaiju_tasks.define.circles import circles, hide_others, waits, without_wait
from kaiju_tasks.define.precedence import is_newer
from kaiju_tasks.define.problems import PROBLEMS_MAX, Surroundings, task_problems
from kaiju_tasks.define.task import (
    Defined,
    as_before,
    as_new_task,
    define,
    read_new_task,
    redefine,
    succeed,
)

__all__ = [
    "PROBLEMS_MAX",
    "Defined",
    "Surroundings",
    "as_before",
    "as_new_task",
    "circles",
    "define",
    "hide_others",
    "is_newer",
    "read_new_task",
    "redefine",
    "succeed",
    "task_problems",
    "waits",
    "without_wait",
]
