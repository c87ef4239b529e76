"""Stores the progress of running stages, so that `tasks.get` shows it on every manager."""

import asyncio
import logging

import msgspec

from kaiju_tasks.errors import reason_of
from kaiju_tasks.manager.events.public import read_progress
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.protocol import Lease, Report
from kaiju_tasks.store.base import Store, StoredProgress

log = logging.getLogger(__name__)

WRITE_SECONDS = 1.0
"""The time between two writes: the progress of a task is written at most once in it."""
BATCH = 1000
"""The most tasks in one write."""
KEPT_MAX = 10_000
REPORT_BYTES_MAX = 65_536


class ProgressKeeper:
    """Collects progress reports, and writes the last of each task with those of others, once a
    second, outside the transactions of tasks. Nothing is written unless stages report progress.

    Progress is a hint: what a manager has not written when it stops is lost. Stored progress of
    a stage that has ended is not shown. It is deleted when the executor has given the task back.

    :ivar reported: the last reports that are still to be written, by task id
    :ivar written: the leases under which progress was written and is to be deleted, by task id
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reported: dict[str, tuple[Session, Report, float]] = {}
        self.written: dict[str, tuple[Session, Lease]] = {}
        self._work = asyncio.Event()
        self._loop = Loop(
            "storing progress", wait=self._until_next, work=self.write, retry_seconds=WRITE_SECONDS
        )

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    def note(self, report: Report, session: Session, now: float) -> None:
        """Keep a progress report until the next write. Reports that are too large are dropped.

        :param now: approximate time of the store's clock, UNIX seconds
        """
        full = len(self.reported) >= KEPT_MAX and report.id not in self.reported
        if full or len(report.result) > REPORT_BYTES_MAX:
            return
        self.reported[report.id] = (session, report, now)
        self._work.set()

    async def _until_next(self) -> None:
        await self._work.wait()
        await asyncio.sleep(WRITE_SECONDS)

    async def write(self) -> None:
        """Write the reported progress, and delete that of tasks that executors have given back."""
        taken = [self.reported.pop(task_id) for task_id in list(self.reported)[:BATCH]]
        progress = [one for entry in taken if (one := _stored(*entry)) is not None]
        gone = [id for id, (session, lease) in self.written.items() if not session.has(lease)]
        if progress or gone:
            try:
                await self._store.put_progress(progress, [self.written[id][1] for id in gone])
            except Exception:
                for session, report, at in taken:  # unless later ones came meanwhile
                    self.reported.setdefault(report.id, (session, report, at))
                raise
        for task_id in gone:
            del self.written[task_id]
        for session, report, _ in taken:
            if len(self.written) < KEPT_MAX:
                self.written[report.id] = (session, _lease_of(report))
        if not self.reported and not self.written:
            self._work.clear()


def _stored(session: Session, report: Report, at: float) -> StoredProgress | None:
    """What is stored of a report; None if the lease has ended, or if it is no progress."""
    lease = _lease_of(report)
    if not session.has(lease):
        return None
    try:
        progress = read_progress(report)
    except (msgspec.DecodeError, RecursionError) as exc:
        log.debug("ignored progress of %s: %s", report.id, reason_of(exc))
        return None
    shown = {**msgspec.structs.asdict(progress), "at": at}
    return StoredProgress(lease, report.stage, msgspec.json.encode(shown).decode())


def _lease_of(report: Report) -> Lease:
    return Lease(report.id, report.job_id, report.epoch, report.nonce)
