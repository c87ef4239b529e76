"""Measures the limit of SQLite: the same work in plain SQL, with the manager's settings."""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from kaiju_tasks.bench.jobs import BATCH, Job
from kaiju_tasks.store.sqlite.connection import connect

INSERT_TASK = """
INSERT INTO tasks (id, app_name, priority, status, enabled, ready, run_open, stage, stages, job_id,
    cycle, attempt, retries, losses, epoch, hold_next, start_next, explicit, anchor, next_run,
    queued_at, exec_used, run_queued_at, status_change, result_bytes, rev, version)
VALUES (?1, 'bench', 0, 'QUEUED', 1, 1, 1, 0, ?2, ?3, 0, 0, 0, 0, 0, 0, 0, 0, 0, ?4, ?4, 0, ?4,
    ?4, 0, 1, 0)"""
INSERT_DEFINITION = """
INSERT INTO definitions (task_id, rev, body, created, system, notify)
VALUES (?, 1, ?, '2026-01-01T00:00:00+00:00', 0, 0)"""
PICK = """
SELECT id FROM tasks WHERE app_name = 'bench' AND ready = 1
ORDER BY priority DESC, queued_at, id LIMIT ?"""
ACQUIRE = """
UPDATE tasks SET status = 'EXECUTED', ready = 0, executor_id = 'limit', nonce = '0123456789abcdef',
    epoch = epoch + 1, exec_deadline = ?1 + 300, due_at = ?1 + 302, stage_started_at = ?1,
    run_started_at = coalesce(run_started_at, ?1), status_change = ?1, version = version + 1
WHERE id = ?2"""
STORE_RESULT = """
INSERT INTO stages (job_id, cycle, stage, failed_attempt, task_id, attempt, method, executor_id,
    queued_at, started_at, ended_at, outcome, rescued, result)
VALUES (?1, 0, ?2, 0, ?3, 1, 'do.echo', 'limit', ?4, ?4, ?4, 'FINISHED', 0, '{"n":1}')"""
NEXT_STAGE = """
UPDATE tasks SET stage = stage + 1, attempt = 0, result_bytes = result_bytes + 7,
    stage_started_at = ?1, version = version + 1 WHERE id = ?2"""
FINISH = """
UPDATE tasks SET stage = stage + 1, status = 'FINISHED', run_open = 0, executor_id = NULL,
    nonce = NULL, exec_deadline = NULL, due_at = NULL, exit_code = 0, next_run = NULL,
    result_bytes = result_bytes + 7, exec_used = 0.01, version = version + 1, status_change = ?1
WHERE id = ?2"""
END_RUN = """
INSERT INTO runs (run_id, task_id, job_id, status, queued_at, started_at, ended_at, exit_code,
    retries, stage, stages, executor_id)
VALUES (?1, ?2, ?1, 'FINISHED', ?3, ?3, ?3, 0, 0, ?4, ?4, 'limit')"""


class Limit:
    """The work in plain SQL, on one file."""

    def __init__(self, path: Path) -> None:
        self._db = connect(str(path))

    def close(self) -> None:
        self._db.close()

    def measure(self, job: Job) -> tuple[float, float]:
        """Measure tasks per second: (created, drained)."""
        return self._create(job), self._drain(job)

    def _create(self, job: Job) -> float:
        ids = [f"limit-{job.name}-{n}" for n in range(job.tasks)]
        started = time.perf_counter()
        for n in range(0, len(ids), BATCH):
            part, now = ids[n : n + BATCH], time.time()
            self._many(
                (INSERT_TASK, [(i, job.stages, _job_id(i), now) for i in part]),
                (INSERT_DEFINITION, [(i, job.body) for i in part]),
            )
        return job.tasks / (time.perf_counter() - started)

    def _drain(self, job: Job) -> float:
        started = time.perf_counter()
        while ids := self._acquire():
            for stage in range(job.stages):
                self._store(ids, stage, job.stages)
        return job.tasks / (time.perf_counter() - started)

    def _acquire(self) -> list[str]:
        now = time.time()
        self._db.execute("BEGIN IMMEDIATE")
        ids = [row[0] for row in self._db.execute(PICK, (BATCH,))]
        self._db.executemany(ACQUIRE, [(now, i) for i in ids])
        self._db.execute("COMMIT")
        return ids

    def _store(self, ids: list[str], stage: int, stages: int) -> None:
        now = time.time()
        results = (STORE_RESULT, [(_job_id(i), stage, i, now) for i in ids])
        moved = [(now, i) for i in ids]
        if stage + 1 < stages:
            self._many(results, (NEXT_STAGE, moved))
        else:
            runs = (END_RUN, [(_job_id(i), i, now, stages) for i in ids])
            self._many(results, (FINISH, moved), runs)

    def _many(self, *statements: tuple[str, Sequence[Sequence[object]]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for sql, rows in statements:
            self._db.executemany(sql, rows)
        self._db.execute("COMMIT")


def _job_id(task_id: str) -> str:
    return hashlib.md5(task_id.encode(), usedforsecurity=False).hexdigest()
