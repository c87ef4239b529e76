"""Which methods the connected executors have, for warnings; a few seconds old at most."""

import asyncio
from typing import Any

import msgspec

from kaiju_tasks.lifecycle import Definition
from kaiju_tasks.store.base import Store
from kaiju_tasks.types import HOOKS, ExecutorStatus

FRESH_SECONDS = 2.0
ANY_METHOD = "*"
"""Of an executor that announces none: it forwards whatever it is sent."""
KNOWN_ROOTS = frozenset({"id", "job_id", "kws", "scheduled_at", "executor", "*"})


class KnownMethods:
    """Methods by stream."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._methods: dict[str, set[str]] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    def forget(self) -> None:
        self._read_at = float("-inf")

    async def warnings(self, definition: Definition) -> list[str]:
        """What a user should know before waiting for this task."""
        return await self._method_warnings(definition) + _template_warnings(definition)

    async def _method_warnings(self, definition: Definition) -> list[str]:
        wanted = {c.method for c in definition.commands if c.method not in HOOKS}
        if not wanted:
            return []
        async with self._reading:
            await self._refresh()
        app_name = definition.app_name
        known = self._methods.get(app_name)
        if known is None:
            return [f"no executor serves the stream {app_name!r} now"]
        if ANY_METHOD in known:
            return []
        return [
            f"no executor on the stream {app_name!r} knows the method {method!r}"
            for method in sorted(wanted - known)
        ]

    async def _refresh(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._read_at < FRESH_SECONDS:
            return
        methods: dict[str, set[str]] = {}
        for executor in await self._store.executors():
            if executor.status in (ExecutorStatus.ACTIVE, ExecutorStatus.DRAINING):
                names = {command["method"] for command in read_commands(executor.commands)}
                for app_name in executor.app_names:
                    methods.setdefault(app_name, set()).update(names or {ANY_METHOD})
        self._methods, self._read_at = methods, now


def read_commands(commands: msgspec.Raw) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = msgspec.json.decode(commands)
    return read


def _template_warnings(definition: Definition) -> list[str]:
    known = KNOWN_ROOTS | set(definition.stage_of_name)
    warnings = []
    for index, command in enumerate(definition.commands):
        for ref in sorted(command.refs - known):
            if not (ref.isdecimal() and int(ref) < index):
                warnings.append(f"commands.{index} reads [{ref}], which nothing fills by then")
    return warnings
