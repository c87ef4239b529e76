"""Runs one stage: checks its condition, fills its parameters, calls its command in time."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from msgspec import Raw

from kaiju_tasks.errors import StaleLease
from kaiju_tasks.executor.batch_signature import BATCH_PARAMS, BatchCall
from kaiju_tasks.executor.batches import Member
from kaiju_tasks.executor.bridge import StageBridge
from kaiju_tasks.executor.calls import Call, Done, LoopCall, ThreadCall
from kaiju_tasks.executor.clock import TimerHandle
from kaiju_tasks.executor.context import Context, StageInfo, Stopped
from kaiju_tasks.executor.failures import NotBegun, StageTimeout, report_error
from kaiju_tasks.executor.logs import AttemptLog
from kaiju_tasks.executor.middleware import Injection, WrappedCall
from kaiju_tasks.executor.places import PLACE_SECONDS
from kaiju_tasks.executor.processes import ProcessCall
from kaiju_tasks.executor.registry import Command, CommandKind, Executor
from kaiju_tasks.executor.results import encode_result
from kaiju_tasks.executor.runtime import Runtime
from kaiju_tasks.executor.stage_log import log_end, log_start, log_stop
from kaiju_tasks.protocol import Lease, ReportError, ReportState, SegmentCommand
from kaiju_tasks.templates import StageData

__all__ = ["NULL", "OnReport", "Stage"]

NULL = Raw(b"null")
PROGRESS_SECONDS = 0.2

CallManager = Callable[[int, str, dict[str, Any]], Coroutine[Any, Any, Any]]
OnReport = Callable[[ReportState, Raw, ReportError | None, float], None]


class Stage:
    """Runs one command and reports its outcome exactly once, unless it is stopped before.

    :param exec_seconds: seconds of execution that the run has left
    :param on_report: called with every report of this stage: progress, extend and the outcome
    :param leave_place: called once, when no thread and no process works for this stage any more
    :param call_manager: calls a method of the manager for a stage with this index
    :param lease: the lease that the stage runs under
    """

    __slots__ = (
        "_call",
        "_call_manager",
        "_calling",
        "_command",
        "_data",
        "_info",
        "_latest_progress",
        "_lease",
        "_leave_place",
        "_log",
        "_member",
        "_on_report",
        "_progress_timer",
        "_run_seconds",
        "_runtime",
        "_stage_seconds",
        "_started",
        "_timer",
        "over",
    )

    def __init__(
        self,
        info: StageInfo,
        command: SegmentCommand,
        exec_seconds: float,
        data: StageData,
        runtime: Runtime,
        on_report: OnReport,
        leave_place: Callable[[], None] | None = None,
        call_manager: CallManager | None = None,
        *,
        lease: Lease,
    ) -> None:
        self._info = info
        self._command = command
        self._data = data
        self._runtime = runtime
        self._on_report = on_report
        self._leave_place = leave_place
        self._call_manager = call_manager
        self._calling: set[asyncio.Task[Any]] | None = None
        self._lease = lease
        self._log: AttemptLog | None = None
        self._started = runtime.clock.time()
        self._run_seconds = exec_seconds
        self._stage_seconds = command.max_timeout
        self._call: Call | None = None
        self._member: Member | None = None
        self._timer: TimerHandle | None = None
        self._progress_timer: TimerHandle | None = None
        self._latest_progress: Raw | None = None
        self.over = False

    def start(self) -> None:
        """Start the stage. Its outcome may be reported before this returns."""
        log_start(self._info)
        if self._run_seconds <= 0:
            self._leave()
            self._fail(self._timeout())
            return
        try:
            self._call = self._prepare()
            if self._call is not None:
                self._call.start()
        except Exception as error:  # any error of a template or a type fails the stage
            self._leave()
            self._fail(error)
            return
        if self._call is None:
            self._leave()
            self._end(ReportState.SKIPPED, NULL, None)
        else:
            self._arm()

    def _prepare(self) -> Call | None:
        if not self._data.holds(self._command.condition or NULL):
            return None
        executor, command = self._runtime.find(self._info.app_name, self._info.method)
        params = self._data.params(self._command.params)
        return self._make_call(executor, command, params)

    def _make_call(self, executor: Executor, command: Command, params: Any) -> Call:
        arguments = command.signature.arguments(params)
        make = partial(self._call_of, executor, command, params, arguments)
        around = list(executor.middlewares)
        dependencies = command.signature.dependencies
        if dependencies and command.kind is not CommandKind.PROCESS:
            around.append(Injection(dependencies, executor.shared, arguments))
        if not around:
            return make(self._done)
        context = Context(self._info, self._bridge(), executor.state)
        return WrappedCall(around, context, make, self._done, self._runtime.gate)

    def _call_of(
        self,
        executor: Executor,
        command: Command,
        params: Any,
        arguments: dict[str, Any],
        done: Done,
    ) -> Call:
        gate = self._runtime.gate
        if command.batch is not None:
            context = Context(self._info, self._bridge(), executor.state)
            call = BatchCall(arguments[BATCH_PARAMS], context)
            self._member = self._runtime.batches.member(command, call, done)
            return self._member
        if command.kind is CommandKind.PROCESS:
            bridge, limit = self._bridge(), self._runtime.max_result_bytes
            return ProcessCall(command.function, params, self._info, bridge, limit, done, gate)
        if command.signature.context_name is not None:
            context = Context(self._info, self._bridge(), executor.state)
            arguments[command.signature.context_name] = context
        if command.kind is CommandKind.THREAD:
            return ThreadCall(command.function, arguments, done, self._runtime.threads, gate)
        return LoopCall(command.function, arguments, done, gate)

    def _bridge(self) -> StageBridge:
        if self._log is None:
            self._log = AttemptLog(self._runtime.logs, self._info, self._lease)
        return StageBridge(self._info, self, self._log)

    def _leave(self) -> None:
        if self._leave_place is not None:
            leave, self._leave_place = self._leave_place, None
            leave()

    def _done(self, call: Call, value: Any, error: BaseException | None) -> None:
        self._runtime.ended(call)
        self._leave()
        if self.over:
            return
        if isinstance(error, NotBegun):
            self._end(ReportState.RELEASED, NULL, None)
            return
        if error is not None:
            self._fail(error)
            return
        try:
            result = value if isinstance(call, ProcessCall) else self._encode(value)
        except Exception as refusal:
            self._fail(refusal)
            return
        self._end(ReportState.FINISHED, result, None)

    def _encode(self, value: Any) -> Raw:
        return encode_result(value, self._runtime.max_result_bytes)

    def _fail(self, error: BaseException) -> None:
        self._end(ReportState.FAILED, NULL, report_error(error))

    def _end(self, state: ReportState, result: Raw, error: ReportError | None) -> None:
        self._close()
        seconds = self.seconds()
        log_end(self._info, state, error, seconds)
        self._on_report(state, result, error, seconds)

    def _close(self) -> None:
        self.over = True
        for calling in list(self._calling or ()):
            calling.cancel()
        if self._log is not None:
            self._log.end()
        for timer in (self._timer, self._progress_timer):
            if timer is not None:
                timer.cancel()

    def end_lease(self) -> None:
        """Stop without an outcome: the lease was revoked, released or dropped."""
        log_stop(self._info, self.seconds())
        self.stop()

    def stop(self) -> None:
        """Stop the command without an outcome."""
        self._close()
        if self._call is not None:
            self._call.stop()
            if self._call.alive:
                self._runtime.linger(self._call)

    def runs_in(self, task: "asyncio.Task[object]") -> bool:
        """Whether the command runs in this task of the event loop."""
        return isinstance(self._call, LoopCall | Member) and self._call.runs_in(task)

    def seconds(self) -> float:
        """Seconds since the start."""
        return self._runtime.clock.time() - self._started

    def seconds_left(self) -> float:
        return self._allowed() - self.seconds()

    @property
    def max_result_bytes(self) -> int:
        return self._runtime.max_result_bytes

    def _allowed(self) -> float:
        if self._stage_seconds is None:
            return self._run_seconds
        return min(self._stage_seconds, self._run_seconds)

    def _arm(self) -> None:
        self._timer = self._runtime.clock.call_later(self.seconds_left(), self._deadline)

    def _deadline(self) -> None:
        if self.over:
            return
        if self.seconds_left() > 0.001:
            self._arm()
            return
        if self._member is not None and self._member.waits_for_place:
            self._timer = self._runtime.clock.call_later(PLACE_SECONDS, self._deadline)
            self._member.stop()  # it has not begun: the task is given back
            return
        self.stop()
        self._fail(self._timeout())

    def _timeout(self) -> StageTimeout:
        if self._stage_seconds is not None and self._stage_seconds <= self._run_seconds:
            text = f"the stage ran longer than its `max_timeout` of {self._stage_seconds:g} seconds"
            return StageTimeout(text, whole_run=False)
        return StageTimeout("the run used up its `max_exec_timeout`", whole_run=True)

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        """Report the latest progress, at most once every 0.2 seconds."""
        if self.over:
            return
        value = {"done": done, "total": total, "message": message}
        self._latest_progress = encode_result(value, self._runtime.max_result_bytes)
        if self._progress_timer is None:
            self._send_progress()

    def _send_progress(self) -> None:
        self._progress_timer = None
        if self._latest_progress is None or self.over:
            return
        latest, self._latest_progress = self._latest_progress, None
        self._on_report(ReportState.PROGRESS, latest, None, self.seconds())
        later = self._runtime.clock.call_later
        self._progress_timer = later(PROGRESS_SECONDS, self._send_progress)

    @property
    def crowded(self) -> bool:
        """Whether very many stages of the process wait for tasks."""
        return self._runtime.calls.crowded

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """Call a method of the manager. The end of the stage ends the call.

        :raises Stopped: the stage is over
        :raises StaleLease: the stage is over, and its batch goes on for others
        """
        if self.over or self._call_manager is None:
            raise self.refusal()
        work = self._call_manager(self._info.stage, method, params)
        calling = asyncio.get_running_loop().create_task(work)
        self._calling = self._calling or set()
        self._calling.add(calling)
        calling.add_done_callback(self._calling.discard)
        try:
            return await calling
        except asyncio.CancelledError:
            own = asyncio.current_task()
            assert own is not None  # this is a coroutine
            if own.cancelling():  # the command itself is cancelled
                raise
            self._refuse_in_batch()
            raise

    def _refuse_in_batch(self) -> None:
        refusal = self.refusal()
        if self.over and isinstance(refusal, StaleLease):
            raise refusal from None

    def refusal(self) -> Stopped | StaleLease:
        """What a call raises after the end of the stage.

        A batch goes on for its other members: for it, this is an exception that it can catch.
        """
        if self._member is not None and self._member.batch_goes_on:
            return StaleLease(f"the stage of the task {self._info.task_id!r:.300} has ended")
        return Stopped("the stage has been stopped")

    def extend(self, seconds: float) -> None:
        """Ask the manager for more time."""
        if not self.over:
            self._on_report(ReportState.EXTEND, NULL, None, seconds)

    def extended(self, seconds: float, exec_seconds: float | None) -> None:
        """Move the deadline: the manager has granted more time.

        :param seconds: the additional seconds that were requested
        :param exec_seconds: the remaining seconds of the run, if the manager has sent them
        """
        if self._stage_seconds is not None:
            self._stage_seconds += seconds
        if exec_seconds is not None:
            self._run_seconds = self.seconds() + exec_seconds
        else:
            self._run_seconds += seconds
        if not self.over and self._timer is not None:
            self._timer.cancel()
            self._arm()
