"""Gives an executor that leaves the filling to the manager one filled command at a time.

What such an executor is sent first is in `executor.run`, and each next command in the
acknowledgement of the report before it. A stage that is skipped, or that cannot be filled, is
reported by the manager itself, in the same way as an executor would have done.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from kaiju_tasks.errors import Unavailable
from kaiju_tasks.lifecycle import Command, Definition, Row, Step
from kaiju_tasks.manager.executors import frames, room
from kaiju_tasks.manager.executors.assignments import segment
from kaiju_tasks.manager.executors.filling import Filled, Shapes, fill, is_light
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.store_clock import StoreClock
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.protocol import (
    STAGE_DONE,
    Ack,
    AckState,
    Assignment,
    ConnectParams,
    Lease,
    Report,
    ReportError,
    ReportState,
    SegmentCommand,
)
from kaiju_tasks.shapes import Shape
from kaiju_tasks.store.base import StoreError, Transaction
from kaiju_tasks.templates import StageData

log = logging.getLogger(__name__)

NULL = Raw(b"null")
AGAIN = Ack(AckState.AGAIN)
STALE = Ack(AckState.STALE)
OUTAGE_PAUSE_SECONDS = 0.5
IN_A_ROW = 16
"""So many commands are filled before others have their turn."""

Results = Mapping[tuple[str, int], Raw]
Apply = Callable[[Sequence[Report], Session], Awaitable[list[tuple[Ack, Step | BaseException]]]]


class FillDesk:
    """What the fillers of a manager share.

    :param apply: writes reports
    :param spawn: runs a coroutine in the background
    """

    def __init__(
        self,
        committer: Committer,
        clock: StoreClock,
        apply: Apply,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.committer = committer
        self.clock = clock
        self.apply = apply
        self.spawn = spawn
        self._thread = ThreadPoolExecutor(1, "fill")
        self._in_a_row = 0

    def close(self) -> None:
        """Fill nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def fill(self, command: Command, data: StageData, size: int, shape: Shape) -> Filled:
        """Fill a command. A costly one is filled in a thread: the event loop goes on meanwhile.

        :param size: the size of what its templates can read, in bytes
        """
        if not is_light(command, size):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, fill, command, data, shape)
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(0)
        return fill(command, data, shape)

    def new(self, session: Session, params: ConnectParams) -> "Filler":
        """The filler of an executor that has connected."""
        return Filler(self, session, params)


class Filler:
    """Fills the commands of one executor.

    :ivar unsent: the leases of the executor that wait to be sent
    """

    def __init__(self, desk: FillDesk, session: Session, params: ConnectParams) -> None:
        self.unsent: set[Lease] = set()
        self._desk = desk
        self._session = session
        self._shapes = Shapes(params.commands)
        self._data = params.data
        self._data_bytes = len(msgspec.json.encode(params.data))
        self._waiting: deque[tuple[Assignment, int]] = deque()
        self._waiting_bytes = 0
        self._sending = False

    # -- the first command -----------------------------------------------------------------

    def push(self, assignments: Iterable[Assignment]) -> None:
        """Send assignments of one command each, filled, as soon as the executor takes them."""
        for assignment in assignments:
            self.unsent.add(_token(assignment))
            size = _unfilled_size(assignment)
            self._waiting.append((assignment, size))
            self._waiting_bytes += size
            self._session.untaken += size
        self.taken()

    def taken(self) -> None:
        """Send more: the executor may have taken what it was sent."""
        if self._waiting and not self._sending and self._has_room(0):
            self._sending = True
            self._desk.spawn(self._send())

    def _has_room(self, size: int) -> bool:
        untaken = self._session.untaken - self._waiting_bytes + size
        return not untaken or untaken < room.UNTAKEN_BYTES

    async def _send(self) -> None:
        try:
            while self._waiting and self._has_room(0):
                await self._send_some()
        finally:
            self._sending = False

    async def _send_some(self) -> None:
        ready: list[Assignment] = []
        own: list[tuple[Assignment, Report]] = []
        size = unfilled = 0
        while self._waiting and size < frames.FRAME_BYTES and self._has_room(size):
            assignment, waited = self._waiting.popleft()
            self._waiting_bytes -= waited
            unfilled += waited
            outcome = await self._fill_first(assignment)
            if isinstance(outcome, SegmentCommand):
                size += len(outcome.params)
                ready.append(_single(assignment, outcome))
            else:
                own.append((assignment, _report(_token(assignment), assignment.stage, outcome)))
        self._transmit(ready)
        self._session.taken(unfilled)
        if own:
            self._desk.spawn(self._settle(own))

    async def _fill_first(self, assignment: Assignment) -> Filled:
        (command,) = assignment.commands
        data = StageData(
            assignment.id,
            assignment.job_id,
            assignment.kws,
            assignment.scheduled_at,
            assignment.results,
            self._data,
        )
        size = _unfilled_size(assignment)
        return await self._fill(assignment.app_name, command, data, size)

    async def _fill(self, app_name: str, command: Any, data: StageData, size: int) -> Filled:
        shape = self._shapes.of(app_name, command.method)
        return await self._desk.fill(command, data, size + self._data_bytes, shape)

    def _transmit(self, assignments: Iterable[Assignment]) -> None:
        """Send filled assignments whose leases still stand."""
        ready = []
        for assignment in assignments:
            lease = _token(assignment)
            self.unsent.discard(lease)
            if self._session.open and self._session.has(lease):
                ready.append(assignment)
        if ready:
            self._session.transmit(ready)

    async def _settle(self, own: Sequence[tuple[Assignment, Report]]) -> None:
        """Report stages that no executor has run, and send what comes next."""
        assignments = {_token(assignment): assignment for assignment, _ in own}
        reports = [report for _, report in own]
        while self._session.open:
            try:
                acks = await self._report(reports, {})
            except (Unavailable, StoreError) as exc:
                log.warning("tasks of executor %s wait: %s", self._session.executor_id, exc)
                await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
            else:
                break
        else:
            return  # the leases were given back when the executor connected again, or will be
        for lease, ack in acks.items():
            if ack.command is None:
                self.unsent.discard(lease)
                self._session.drop(lease)
            else:
                self._transmit([_next(assignments[lease], ack)])
        self._session.on_free()

    # -- the next commands -----------------------------------------------------------------

    async def follow(
        self, reports: Sequence[Report], acks: Sequence[Ack], outcomes: Sequence[Any]
    ) -> list[Ack]:
        """Add the next commands to the acknowledgements of reports.

        :param outcomes: the step of each report that has one, in order
        :returns: the acknowledgements. If the answer has no room for a command, the report has to
            be repeated
        :raises Unavailable: the database cannot be reached. The reports are stored
        """
        steps = iter(outcomes)
        going: dict[Lease, Row] = {}
        at_hand: dict[tuple[str, int], Raw] = {}
        for report, ack in zip(reports, acks, strict=True):
            if report.state is ReportState.PROGRESS:
                continue
            step = next(steps)
            if report.state in STAGE_DONE and ack.state is AckState.OK:
                lease = Lease(report.id, report.job_id, report.epoch, report.nonce)
                going[lease] = step.row
                if step.changed:  # a repeated report may have another result than the stored one
                    at_hand[report.job_id, report.stage] = report.result
        if not going:
            return list(acks)
        found = await self._go_on(going, at_hand)
        return [
            found.get(Lease(report.id, report.job_id, report.epoch, report.nonce), ack)
            if report.state in STAGE_DONE and ack.state is AckState.OK
            else ack
            for report, ack in zip(reports, acks, strict=True)
        ]

    async def _report(
        self, reports: Sequence[Report], at_hand: dict[tuple[str, int], Raw]
    ) -> dict[Lease, Ack]:
        """Write the manager's own reports, and go on."""
        found: dict[Lease, Ack] = {}
        going = await self._written(reports, found)
        return found | await self._go_on(going, at_hand, bounded=False)

    async def _written(
        self, reports: Sequence[Report], found: dict[Lease, Ack]
    ) -> dict[Lease, Row]:
        """Write the manager's own reports.

        :param found: receives the acknowledgements of leases that have ended
        :returns: the rows of the others
        """
        going: dict[Lease, Row] = {}
        applied = await self._desk.apply(reports, self._session)
        for report, (ack, step) in zip(reports, applied, strict=True):
            lease = Lease(report.id, report.job_id, report.epoch, report.nonce)
            if ack.state is AckState.OK and isinstance(step, Step):
                going[lease] = step.row
            else:
                found[lease] = ack
        return going

    async def _go_on(
        self,
        going: dict[Lease, Row],
        at_hand: dict[tuple[str, int], Raw],
        *,
        bounded: bool = True,
    ) -> dict[Lease, Ack]:
        """Find the next command of each task, past the stages that no executor has to run.

        :param at_hand: results that need not be read, by (job_id, stage)
        :param bounded: the acknowledgements are for one answer
        """
        found: dict[Lease, Ack] = {}
        size, full = 0, False
        while going:
            known = await self._read(list(going.values()), at_hand)
            own: list[Report] = []
            for lease, row in going.items():
                outcome = None if full else await self._fill_next(row, known, at_hand)
                if full or (size and bounded and _size(outcome) + size > frames.FRAME_BYTES):
                    found[lease], full = AGAIN, True
                elif isinstance(outcome, SegmentCommand):
                    size += _size(outcome)
                    found[lease] = self._ack(lease, row, outcome)
                else:
                    own.append(_report(lease, row.stage, outcome))
            going = await self._written(own, found) if own else {}
            at_hand |= {(report.job_id, report.stage): NULL for report in own}
        return found

    def _ack(self, lease: Lease, row: Row, command: SegmentCommand) -> Ack:
        if not self._session.has(lease):  # revoked meanwhile
            return STALE
        assert row.exec_deadline is not None
        left = max(0.0, row.exec_deadline - self._desk.clock.now())
        return Ack(AckState.OK, left, row.stage, command)

    async def _fill_next(self, row: Row, known: "_Known", at_hand: Results) -> Filled:
        assert row.job_id is not None
        definition = known.definitions[row.id]
        part = segment(definition, row.stage, single=True)
        (command,) = part.commands
        results = {
            name: raw
            for stage, name in part.reads
            if (raw := _result(row.job_id, stage, at_hand, known.results)) is not None
        }
        data = StageData(row.id, row.job_id, definition.kws, row.scheduled_at, results, self._data)
        size = len(definition.kws) + sum(map(len, results.values()))
        return await self._fill(row.app_name, command, data, size)

    async def _read(self, rows: Sequence[Row], at_hand: Results) -> "_Known":
        """Read what the next commands need. Often it is all at hand."""
        cached = self._desk.committer.states.definitions
        definitions = {row.id: one for row in rows if (one := cached.current(row)) is not None}
        if len(definitions) == len(rows) and not _wanted(rows, definitions, at_hand):
            return _Known(definitions, {})
        return await self._desk.committer.transact(partial(self._load, rows, at_hand))

    async def _load(
        self, rows: Sequence[Row], at_hand: Results, tx: Transaction
    ) -> Written["_Known"]:
        definitions = await self._desk.committer.states.definitions.load(tx, rows)
        wanted = _wanted(rows, definitions, at_hand)
        return Written(_Known(definitions, await tx.results(wanted) if wanted else {}), [])


class _Known(NamedTuple):
    """What was read for the next commands.

    :ivar definitions: by task id
    :ivar results: by (job_id, stage)
    """

    definitions: Mapping[str, Definition]
    results: Results


def _wanted(
    rows: Iterable[Row], definitions: Mapping[str, Definition], at_hand: Results
) -> list[tuple[str, int, int]]:
    return [
        (row.job_id or "", row.cycle, stage)
        for row in rows
        for stage, _ in segment(definitions[row.id], row.stage, single=True).reads
        if (row.job_id or "", stage) not in at_hand
    ]


def _result(job_id: str, stage: int, *sources: Results) -> Raw | None:
    for results in sources:
        if (raw := results.get((job_id, stage))) is not None:
            return raw
    return None


def _size(outcome: Filled) -> int:
    if isinstance(outcome, SegmentCommand):
        return len(outcome.params) + room.COMMAND_BYTES
    return 0


def _token(assignment: Assignment) -> Lease:
    return Lease(assignment.id, assignment.job_id, assignment.epoch, assignment.nonce)


def _report(lease: Lease, stage: int, outcome: ReportError | SegmentCommand | None) -> Report:
    """What an executor reports of a stage that is skipped, or cannot be filled."""
    assert not isinstance(outcome, SegmentCommand)
    state = ReportState.SKIPPED if outcome is None else ReportState.FAILED
    return Report(
        id=lease.id,
        job_id=lease.job_id,
        epoch=lease.epoch,
        nonce=lease.nonce,
        stage=stage,
        state=state,
        error=outcome,
    )


def _unfilled_size(assignment: Assignment) -> int:
    """The size of what the templates of an assignment can read, in bytes."""
    return len(assignment.kws) + sum(map(len, assignment.results.values()))


def _single(assignment: Assignment, command: SegmentCommand) -> Assignment:
    """An assignment of one filled command."""
    return msgspec.structs.replace(assignment, commands=[command], kws=Raw(b"{}"), results={})


def _next(assignment: Assignment, ack: Ack) -> Assignment:
    """An assignment that begins with a later command."""
    assert ack.command is not None
    assert ack.stage is not None
    assert ack.exec_seconds is not None
    return msgspec.structs.replace(
        _single(assignment, ack.command),
        stage=ack.stage,
        attempt=1,
        exec_seconds=ack.exec_seconds,
    )
