"""Builds the result of a `_TASKS_` stage from the outcomes of its children."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.store.base import Child, Transaction
from kaiju_tasks.types import ErrorType, ExitCode, TaskStatus

RUNS_AT_ONCE = 100
SHORT_ERROR = 200
TRUNCATED = b',"truncated":true'
_encode = msgspec.json.encode
_decode = msgspec.json.decode


async def outcomes(tx: Transaction, children: Sequence[Child], max_bytes: int) -> Raw:
    """Build `{id, status, exit_code, result, error}` of each child, in order.

    A result that would make the whole list longer than `max_bytes` is null, with
    `truncated: true`.

    :param children: the children; an unfinished child that the stage created is reported as
        cancelled
    """
    room = max_bytes // (4 * len(children) or 1)
    entries = [_entry(child, room) for child in children]
    left = max_bytes - 2 - sum(len(_encode(entry)) + 1 for entry in entries)
    left -= len(children) * len(TRUNCATED)
    runs = {
        child.job_id: (child.job_cycle or 0, child.stages or 0)
        for child in children
        if child.status is not None and child.job_id is not None
    }
    sizes = await tx.result_sizes([(job_id, cycle) for job_id, (cycle, _) in runs.items()])
    fitting: list[str] = []
    for child, entry in zip(children, entries, strict=True):
        if child.job_id not in runs:
            continue
        size = sizes.get(child.job_id, 0) + 2
        if size <= left:
            left -= size
            fitting.append(child.job_id)
        else:
            entry["truncated"] = True
    results = await _results(tx, {job_id: runs[job_id] for job_id in fitting})
    for child, entry in zip(children, entries, strict=True):
        if child.job_id in results:
            entry["result"] = results[child.job_id]
    return Raw(_encode(entries))


async def _results(tx: Transaction, runs: dict[str, tuple[int, int]]) -> dict[str, list[Raw]]:
    found: dict[str, list[Raw]] = {}
    ids = list(runs)
    for start in range(0, len(ids), RUNS_AT_ONCE):
        some = ids[start : start + RUNS_AT_ONCE]
        stored = await tx.run_results([(job_id, runs[job_id][0]) for job_id in some])
        for job_id in some:
            of_run = stored.get(job_id, {})
            null = Raw(b"null")
            found[job_id] = [of_run.get(stage, null) for stage in range(runs[job_id][1])]
    return found


def _entry(child: Child, room: int) -> dict[str, Any]:
    if child.status is None and child.made:
        error: Any = {
            "type": ErrorType.CANCELLED,
            "message": "the parent task no longer waits for this task",
            "stage": None,
            "data": None,
        }
        return _outcome(child.child_id, TaskStatus.FAILED, ExitCode.ABORTED, error)
    return _outcome(child.child_id, child.status, child.exit_code, _fitting(child.error, room))


def _outcome(
    child_id: str, status: str | None, exit_code: int | None, error: Any
) -> dict[str, Any]:
    return {
        "id": child_id,
        "status": status,
        "exit_code": exit_code,
        "result": None,
        "error": error,
    }


def _fitting(error: str | None, room: int) -> Any:
    """The error, or a short form of it if it is longer than `room`: thousands of tracebacks
    would not fit into the list."""
    if error is None or len(error) <= room:
        return None if error is None else Raw(error.encode())
    read = _decode(error)
    return {**read, "message": read["message"][:SHORT_ERROR], "data": None}
