"""Runs a call of a command in a separate process, and kills it when its stage is stopped."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.executor.bridge import StageBridge
from kaiju_tasks.executor.calls import Done
from kaiju_tasks.executor.context import StageInfo
from kaiju_tasks.executor.failures import ReportedError
from kaiju_tasks.executor.guardian import GUARDED
from kaiju_tasks.executor.output import Output
from kaiju_tasks.executor.pipe import HEADER_BYTES, Begin, Start, WorkerMessage, frame
from kaiju_tasks.executor.start_gate import StartGate
from kaiju_tasks.steady import steady_seconds

__all__ = ["ProcessCall", "WorkerDied"]

GUARDIAN_SECONDS = 3.0
"""After that, the guardian of a process is killed, too."""

_decode = msgspec.json.Decoder(WorkerMessage).decode


class WorkerDied(Exception):
    """The process ended without a result: it was killed, ran out of memory or crashed."""


class ProcessCall:
    """Runs a function by its import path. The value of the call is `Raw` JSON.

    :param params: the filled parameters, not yet checked against the signature
    """

    def __init__(
        self,
        function: Callable[..., Any],
        params: Any,
        info: StageInfo,
        bridge: StageBridge,
        max_result_bytes: int,
        done: Done,
        gate: StartGate,
    ) -> None:
        self._start = Start(
            function=f"{function.__module__}:{function.__qualname__}",
            params=Raw(msgspec.json.encode(params)),
            info=info,
            seconds=bridge.seconds_left(),
            max_result_bytes=max_result_bytes,
            sys_path=[path or os.getcwd() for path in sys.path],
        )
        self._bridge = bridge
        self._done = done
        self._gate = gate
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._begun = False
        self._ending = False
        self._stopped = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        self._begun = True
        value, failure = None, None
        try:
            value = await self._run_process()
        except BaseException as error:  # passed to `done`, including CancelledError
            failure = error
        self._task = None
        self._done(self, value, failure)

    async def _run_process(self) -> Raw:
        # A new session: Ctrl-C in a terminal does not reach it, and killpg kills its children.
        output = Output(self._bridge.output)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "kaiju_tasks.executor.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output.write_end,
                start_new_session=True,
            )
        except BaseException:
            output.abandon()
            raise
        self._process = process
        try:
            await output.open()
            return await self._result(process)
        finally:
            self._kill()
            with contextlib.suppress(asyncio.CancelledError):  # a killed process ends immediately
                await process.wait()
            with contextlib.suppress(asyncio.CancelledError):
                await output.close()

    async def _result(self, process: asyncio.subprocess.Process) -> Raw:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(frame(self._start))
        try:
            await process.stdin.drain()
            while True:
                header = await process.stdout.readexactly(HEADER_BYTES)
                body = await process.stdout.readexactly(int.from_bytes(header, "big"))
                message = _decode(body)
                if message.kind == "result":
                    return message.result
                if message.kind == "ready":
                    process.stdin.write(frame(await self._permission()))
                else:
                    self._handle(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise WorkerDied(await _describe_exit(process)) from None

    async def _permission(self) -> Begin:
        await self._gate.opened()
        return Begin(steady_seconds() + self._gate.seconds_left())

    def _handle(self, message: WorkerMessage) -> None:
        match message.kind:
            case "error" if message.error is not None:
                raise ReportedError(message.error)
            case "progress":
                self._bridge.progress(**message.data)
            case "log":
                self._bridge.log(**message.data)
            case "extend":
                self._bridge.extend(message.data)

    def stop(self) -> None:
        self._stopped = True
        self._kill()
        if self._task is not None:
            self._task.cancel()

    def _kill(self) -> None:
        """End the process and all that it has started."""
        if self._process is None or self._process.returncode is not None or self._ending:
            return
        if not GUARDED:
            self._kill_group()
            return
        self._ending = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()  # its guardian ends the others first
        asyncio.get_running_loop().call_later(GUARDIAN_SECONDS, self._kill_group)

    def _kill_group(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def alive(self) -> bool:
        # A task cancelled before its first step never takes it.
        return self._task is not None and (self._begun or not self._stopped)


async def _describe_exit(process: asyncio.subprocess.Process) -> str:
    code = await process.wait()
    if code < 0:
        return f"the command's process was killed by {signal.Signals(-code).name}"
    return f"the command's process ended with code {code} and no result"
