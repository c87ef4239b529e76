"""The commands of the connected executors, at most two seconds old, and checks of tasks by them."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from kaiju_tasks.lifecycle import Command, Definition
from kaiju_tasks.manager.executors.methods import of_stream
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.shapes.nearest import nearest
from kaiju_tasks.shapes.shape import Misfit, Shape, shape
from kaiju_tasks.store.announced import Announced, read_commands
from kaiju_tasks.store.base import Store
from kaiju_tasks.templates import ANY_ROOT, OWN_ROOTS
from kaiju_tasks.types import HOOKS, MANAGER_APP, ExecutorStatus

FRESH_SECONDS = 2.0


class Finding(NamedTuple):
    """A reason why a task cannot run on the connected executors.

    :ivar path: path of the field in the task, for example `commands.0.params.prices`
    :ivar what: what is wrong, or what is expected
    :ivar warning: the same as a sentence that contains the path
    """

    path: str
    what: str
    warning: str


class Offer:
    """The commands of all executors of a stream.

    :ivar anything: an executor announces no commands, and therefore accepts every command
    """

    def __init__(self) -> None:
        self.anything = False
        self._shapes: dict[str, list[Shape]] = {}
        self._names: tuple[str, ...] | None = None

    def add(self, method: str, shape: Shape) -> None:
        shapes = self._shapes.setdefault(method, [])
        if shape not in shapes:
            shapes.append(shape)

    def has(self, method: str) -> bool:
        return self.anything or method in self._shapes

    def nearest(self, method: str) -> str | None:
        if self._names is None:
            self._names = tuple(sorted(self._shapes))
        return nearest(method, self._names)

    def misfits(self, command: Command) -> tuple[Misfit, ...]:
        """Return the problems for the executor that fits best."""
        if self.anything:
            return ()
        params = bytes(command.params)
        return min((shape.misfits(params) for shape in self._shapes[command.method]), key=len)


class KnownMethods:
    """Offers by stream."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._offers: dict[str, Offer] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    def forget(self) -> None:
        self._read_at = float("-inf")

    async def findings(self, definition: Definition, *, sure: bool = False) -> list[Finding]:
        """Return the reasons why a task cannot run now.

        :param sure: the task will be refused: read the executors again before reporting a problem
        """
        commands = [(i, c) for i, c in enumerate(definition.commands) if c.method not in HOOKS]
        if not commands or definition.app_name == MANAGER_APP:  # it is started when there is work
            return []
        async with self._reading:
            await self._refresh()
            found = self._find(definition.app_name, commands)
            if found and sure:
                self.forget()
                await self._refresh()
                found = self._find(definition.app_name, commands)
        return found

    def _find(self, app_name: str, commands: list[tuple[int, Command]]) -> list[Finding]:
        offer = self._offers.get(app_name)
        if offer is None:
            what = f"no executor serves the stream {app_name!r} now"
            return [Finding("app_name", what, what)]
        return list(_findings(offer, app_name, commands))

    async def _refresh(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._read_at < FRESH_SECONDS:
            return
        offers: dict[str, Offer] = {}
        for executor in await self._store.executors(ALL_SIGHT):
            if executor.status in (ExecutorStatus.ACTIVE, ExecutorStatus.DRAINING):
                commands = read_commands(executor.commands)
                for app_name in executor.app_names:
                    _add(offers.setdefault(app_name, Offer()), app_name, commands)
        self._offers, self._read_at = offers, now


def _add(offer: Offer, app_name: str, commands: list[Announced]) -> None:
    here = of_stream(commands, app_name)
    if not here:
        offer.anything = True  # it forwards every command
    for command in here:
        offer.add(command.method, shape(bytes(command.params)))


def _findings(
    offer: Offer, app_name: str, commands: list[tuple[int, Command]]
) -> Iterator[Finding]:
    unknown: set[str] = set()
    for index, command in commands:
        method = command.method
        if offer.has(method):
            for misfit in offer.misfits(command):
                path = f"commands.{index}.{misfit.path}"
                yield Finding(path, misfit.what, f"`{path}` {misfit.what}")
        elif method not in unknown:
            unknown.add(method)
            what = f"no executor on the stream {app_name!r} knows the method {method!r}"
            if near := offer.nearest(method):
                what += f"; did you mean {near!r}?"
            yield Finding(f"commands.{index}.method", what, what)


def template_warnings(definition: Definition) -> list[str]:
    """Return the references in templates that nothing fills."""
    known = {ANY_ROOT} | OWN_ROOTS | definition.stage_of_name.keys()
    warnings = []
    for index, command in enumerate(definition.commands):
        for ref in sorted(command.refs - known):
            if not (ref.isdecimal() and int(ref) < index):
                warnings.append(f"commands.{index} reads [{ref}], which nothing fills before it")
    return warnings
