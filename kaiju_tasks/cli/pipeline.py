"""One run of one task in an embedded manager."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import click
import msgspec

from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.files import read_json
from kaiju_tasks.cli.progress import Progress, can_ask
from kaiju_tasks.cli.standstill import hook_name, moves, what_blocks, why_it_stands
from kaiju_tasks.cli.text import one_line
from kaiju_tasks.embedded import MEMORY, Embedded, embedded, link_executors
from kaiju_tasks.errors import with_end
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.settings import Settings
from kaiju_tasks.signals import handling_signals
from kaiju_tasks.types import ENDED, MANAGER_APP, TaskStatus

__all__ = ["Pipeline"]

OPEN = [status for status in TaskStatus if status not in ENDED]
LOOK_SECONDS = 0.25
LOOK_TASKS = 1000


class Pipeline:
    """Runs a task and shows its progress.

    :param data: the task, as in `tasks.create`
    :param messages: (name, data), sent when the task has been created
    :param settings: of the manager, apart from its database and its default stream
    """

    def __init__(
        self,
        data: dict[str, Any],
        executors: Sequence[Executor],
        messages: Sequence[tuple[str, Any]],
        progress: Progress,
        settings: Settings,
    ) -> None:
        self._data = data
        self._executors = executors
        self._messages = messages
        self._progress = progress
        self._settings = settings
        self._task: dict[str, Any] = {}
        self._asks: set[asyncio.Task[Any]] = set()
        self._served = [*(executor.app_name for executor in executors), MANAGER_APP]
        self._stood: list[tuple[str, float]] = []
        self._stands: str | None = None
        self.interrupted = False

    async def run(self) -> dict[str, Any]:
        """Run the task until it ends.

        :returns: the task
        :raises KaijuError: the task cannot be created
        :raises Failed: no executor serves the task's stream, a message is not accepted, or the run
            waits for something that cannot arrive
        """
        settings = msgspec.structs.replace(
            self._settings, db=MEMORY, default_app_name=self._executors[0].app_name
        )
        async with embedded(settings) as inside:
            created = await inside.call("tasks.create", data=self._data)
            self._check(created)
            async with link_executors(inside, self._executors, grace=0.0):
                await self._warn(inside)
                return await self._follow(inside, created)

    async def _warn(self, inside: Embedded) -> None:
        """Print the warnings of `task validate`, such as a method that no executor has."""
        found = await inside.call("tasks.validate", data=self._data)
        for warning in found["warnings"]:
            click.echo(one_line(f"warning: {warning}"), err=True)

    def _check(self, created: dict[str, Any]) -> None:
        if created["app_name"] not in self._served:
            raise Failed(
                f"No executor of this command serves the stream {created['app_name']!r}. "
                f"Its streams are: {', '.join(self._served)}. "
                "Add an executor for it with --executor MODULE:ATTR.",
                USAGE,
            )

    async def _follow(self, inside: Embedded, task: dict[str, Any]) -> dict[str, Any]:
        self._task = task
        for name, data in self._messages:
            await self._send(inside, name, data)
        with self._progress, self._interrupts(inside), self._typing(inside):
            while True:
                self._task = task = await inside.call("tasks.get", id=task["id"])
                self._progress.show(task, await self._records(inside, task))
                if task["status"] in ENDED:
                    await self._deliver(inside, task)
                    break
                if await self._stands_still(inside):
                    break
                await inside.manager.waiters.wait(task["id"], LOOK_SECONDS)

        if self._stands is not None:
            raise Failed(self._stands, USAGE)
        return task

    async def _stands_still(self, inside: Embedded) -> bool:
        """Cancel a run that nothing in this process can continue.

        :returns: True if the run was cancelled already and still does not end
        """
        if self._task["status"] not in ("WAITING", "SUSPENDED", "QUEUED"):
            return False
        if self._task["status_reason"] == "message" and can_ask():
            return False
        page = await inside.call("tasks.list", conditions={"status": OPEN}, limit=LOOK_TASKS)
        found = page["data"]
        all_stand = page["count"] == len(found) and not any(moves(t, self._served) for t in found)
        stood, self._stood = self._stood, [(t["id"], t["status_change"]) for t in found]
        if not found:  # the task has ended meanwhile
            return False
        if not all_stand or stood != self._stood:  # a change may have begun: look twice
            return False
        if self._stands is not None:
            return True
        blocking = await inside.call("tasks.get", id=what_blocks(self._task, found)["id"])
        self._stands = why_it_stands(self._task, blocking)
        await inside.call("tasks.cancel", id=self._task["id"])
        return False

    async def _deliver(self, inside: Embedded, task: dict[str, Any]) -> None:
        """Call the task's webhook now and only once: nothing remains that could retry it later."""
        if task["webhook"] is None:
            return
        delivery = f"webhook:{task['job_id']}"
        while True:
            tried = await inside.call("tasks.get", id=delivery)
            if tried["status"] in ENDED or tried["retries"]:
                break
            await inside.manager.waiters.wait(delivery, LOOK_SECONDS)
        if tried["error"] is not None:
            why = with_end(tried["error"]["message"])
            click.echo(f"The webhook was not delivered: {why}", err=True)

    async def _records(self, inside: Embedded, task: dict[str, Any]) -> list[dict[str, Any]]:
        if task["job_id"] is None:
            return []
        records: list[dict[str, Any]] = await inside.call("tasks.stages", job_id=task["job_id"])
        return records

    async def _send(self, inside: Embedded, name: str | None, data: Any) -> None:
        params = {"id": self._task["id"], "data": data} | ({"name": name} if name else {})
        receipt = await inside.call("tasks.message", **params)
        if not receipt["accepted"]:
            raise Failed(f"The message {name!r} was rejected: {receipt['reason']}.", USAGE)

    def _interrupts(self, inside: Embedded) -> contextlib.AbstractContextManager[None]:
        def cancel() -> None:
            self.interrupted = True
            self._ask(inside.call("tasks.cancel", id=self._task["id"]))

        return handling_signals(cancel, once=True)

    @contextlib.contextmanager
    def _typing(self, inside: Embedded) -> Iterator[None]:
        """On a terminal, send each line that is typed as a message to the waiting hook."""
        if not can_ask():
            yield
            return
        loop = asyncio.get_running_loop()

        def typed() -> None:
            line = os.read(0, 65_536).decode(errors="replace").strip()
            self._progress.typed()
            if line and self._task["status_reason"] == "message":
                self._ask(self._send(inside, hook_name(self._task), read_json(line, "message")))

        loop.add_reader(0, typed)
        try:
            yield
        finally:
            loop.remove_reader(0)

    def _ask(self, call: Any) -> None:
        ask = asyncio.ensure_future(call)
        self._asks.add(ask)
        ask.add_done_callback(self._asks.discard)
