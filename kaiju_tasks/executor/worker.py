"""Runs one `process=True` stage in its own process: `python -m kaiju_tasks.executor.worker`.

The process reads a Start message from stdin, loads the function, asks whether it may still begin,
runs it, and writes WorkerMessage frames to stdout. It exits immediately when its executor exits,
and its guardian ends what it has started. The output of the command goes to stderr.
"""

import asyncio
import contextlib
import importlib
import inspect
import os
import sys
import threading
import time
from contextlib import AsyncExitStack
from queue import SimpleQueue
from typing import Any, BinaryIO, TypeVar

import msgspec

from kaiju_tasks.executor.context import Context
from kaiju_tasks.executor.dependencies import open_all
from kaiju_tasks.executor.failures import report_error
from kaiju_tasks.executor.guardian import guard
from kaiju_tasks.executor.log_fields import plain_fields, plain_text
from kaiju_tasks.executor.params import Signature
from kaiju_tasks.executor.pipe import HEADER_BYTES, Begin, Start, WorkerMessage, frame
from kaiju_tasks.executor.results import encode_result
from kaiju_tasks.executor.stage_tasks import StageTasks
from kaiju_tasks.steady import steady_seconds

__all__ = ["main"]

T = TypeVar("T")


class PipeBridge:
    """Sends the calls of a command's context through the pipe. It is thread-safe."""

    def __init__(self, out: BinaryIO, seconds: float, max_result_bytes: int) -> None:
        self._out = out
        self._max_result_bytes = max_result_bytes
        self._lock = threading.Lock()
        self._deadline = time.monotonic() + seconds
        self._begins: SimpleQueue[Begin] = SimpleQueue()

    def listen(self, source: BinaryIO) -> None:
        """Receive permissions to begin until the executor exits. Then this process exits too."""
        while begin := _read(source, Begin):
            self._begins.put(begin)
        os._exit(1)

    def until_may_begin(self) -> None:
        """Wait for the permission to begin. This process may stand still before it is read."""
        until = float("-inf")
        while until <= steady_seconds():
            self.send(WorkerMessage("ready"))
            until = self._begins.get().until

    def send(self, message: WorkerMessage) -> None:
        with self._lock:
            self._out.write(frame(message))
            self._out.flush()

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        data = {"done": done, "total": total, "message": message}
        self.send(WorkerMessage("progress", data=data))

    def check(self) -> None:
        """The executor kills this process when it stops the stage."""

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        data = {
            "level": plain_text(str(level)),
            "message": plain_text(str(message)),
            "fields": plain_fields(fields),
        }
        self.send(WorkerMessage("log", data=data))

    def extend(self, seconds: float) -> None:
        self._deadline += seconds
        self.send(WorkerMessage("extend", data=seconds))

    def seconds_left(self) -> float:
        return self._deadline - time.monotonic()

    def max_result_bytes(self) -> int:
        return self._max_result_bytes

    def tasks(self) -> StageTasks:
        raise RuntimeError(
            "`ctx.tasks` is not available in a process command, which has no connection to the "
            "manager: use it in another stage, or `kaiju_tasks.SyncClient` with a token of its own"
        )

    def stopped(self) -> bool:
        return False  # the executor kills this process when it stops the stage


def main() -> None:
    """Run one stage."""
    guard()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    source = sys.stdin.buffer
    start = _read(source, Start)
    if start is None:
        os._exit(1)
    bridge = PipeBridge(out, start.seconds, start.max_result_bytes)
    threading.Thread(target=bridge.listen, args=(source,), daemon=True).start()
    sys.path[:] = start.sys_path
    outcome = _outcome(start, bridge)
    with contextlib.suppress(Exception):  # a command may have closed it
        sys.stderr.flush()
    bridge.send(outcome)
    out.close()
    os._exit(0)


def _read(source: BinaryIO, kind: type[T]) -> T | None:
    header = source.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    return msgspec.json.decode(source.read(int.from_bytes(header, "big")), type=kind)


def _outcome(start: Start, bridge: PipeBridge) -> WorkerMessage:
    try:
        value = _call(start, bridge)
        return WorkerMessage("result", result=encode_result(value, start.max_result_bytes))
    except BaseException as error:  # any exception of a command fails its stage
        return WorkerMessage("error", error=report_error(error))


def _call(start: Start, bridge: PipeBridge) -> Any:
    function = _load(start.function)
    signature = Signature(function)
    arguments = signature.arguments(msgspec.json.decode(start.params))
    context = Context(start.info, bridge)
    if signature.context_name is not None:
        arguments[signature.context_name] = context
    bridge.until_may_begin()
    if inspect.iscoroutinefunction(function) or signature.dependencies:
        return asyncio.run(_in_loop(function, arguments, signature, context))
    return function(**arguments)


async def _in_loop(
    function: Any, arguments: dict[str, Any], signature: Signature, context: Context
) -> Any:
    async with AsyncExitStack() as stack:
        arguments |= await open_all(stack, signature.dependencies, context, {})
        value = function(**arguments)
        return await value if inspect.iscoroutinefunction(function) else value


def _load(path: str) -> Any:
    module_name, _, qualified_name = path.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in qualified_name.split("."):
        found = getattr(found, part)
    return found


if __name__ == "__main__":
    main()
