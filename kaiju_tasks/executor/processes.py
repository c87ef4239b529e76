"""A command in a process of its own, killed when its stage is over."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.executor.calls import Done
from kaiju_tasks.executor.context import ContextBridge, StageInfo
from kaiju_tasks.executor.failures import ReportedError
from kaiju_tasks.executor.pipe import HEADER_BYTES, Said, Start, frame

__all__ = ["ProcessCall", "WorkerDied"]

_said = msgspec.json.Decoder(Said)


class WorkerDied(Exception):
    """The process ended without a result: killed from outside, out of memory, crashed."""


class ProcessCall:
    """Runs `function` by its import path. The value it ends with is `Raw` JSON.

    :param params: the filled parameters, not yet checked against types
    """

    def __init__(
        self,
        function: Callable[..., Any],
        params: Any,
        info: StageInfo,
        bridge: ContextBridge,
        max_result_bytes: int,
        done: Done,
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
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._begun = False
        self._stopped = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        self._begun = True
        value, failure = None, None
        try:
            value = await self._converse()
        except BaseException as error:  # told to the runner, CancelledError too
            failure = error
        self._task = None
        self._done(self, value, failure)

    async def _converse(self) -> Raw:
        # A session of its own: a terminal's Ctrl-C leaves it alone, and killpg takes its children.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kaiju_tasks.executor.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        try:
            return await self._listen(process)
        finally:
            self._kill()
            with contextlib.suppress(asyncio.CancelledError):  # killed: it ends at once
                await process.wait()

    async def _listen(self, process: asyncio.subprocess.Process) -> Raw:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(frame(self._start))
        try:
            await process.stdin.drain()
            while True:
                header = await process.stdout.readexactly(HEADER_BYTES)
                body = await process.stdout.readexactly(int.from_bytes(header, "big"))
                said = _said.decode(body)
                if said.kind == "result":
                    return said.result
                self._hear(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise WorkerDied(await _last_words(process)) from None

    def _hear(self, said: Said) -> None:
        match said.kind:
            case "error" if said.error is not None:
                raise ReportedError(said.error)
            case "progress":
                self._bridge.progress(**said.data)
            case "log":
                self._bridge.log(**said.data)
            case "extend":
                self._bridge.extend(said.data)

    def stop(self) -> None:
        self._stopped = True
        self._kill()
        if self._task is not None:
            self._task.cancel()

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def alive(self) -> bool:
        # A task cancelled before its first step never takes it.
        return self._task is not None and (self._begun or not self._stopped)


async def _last_words(process: asyncio.subprocess.Process) -> str:
    code = await process.wait()
    if code < 0:
        return f"the command's process was killed by {signal.Signals(-code).name}"
    return f"the command's process ended with code {code} and no result"
