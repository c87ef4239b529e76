"""A manager that gets hostile input, and what must hold for each answer."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kaiju_tasks.api import Caller, connection_closed, method_registry
from kaiju_tasks.api.frames import Frames, RpcConnection
from kaiju_tasks.errors import TemplateError
from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import load_settings
from kaiju_tasks.store.open import make_store
from kaiju_tasks.templates import compile_condition, compile_template
from tests.api.matrix import STREAM
from tests.fuzz.inputs import Inputs
from tests.manager.hand import Calls, HandExecutor

__all__ = ["Target", "target"]

INTERNAL = -32603
HANGS_SECONDS = 60.0
CLEANED_EVERY = 500
EVERYTHING = {"id": {"like": "%"}}


class Target:
    """A manager.

    :ivar answers: how many answers had a result, or an error with this code
    """

    def __init__(self, manager: Manager, frames: Frames) -> None:
        self._frames = frames
        self._manager = manager
        self._calls = Calls(manager)
        self._executor = HandExecutor(manager, "fuzz")
        self._connection: RpcConnection = frames.connection(self._executor.caller)
        self.answers: Counter[str] = Counter()
        self.sent = 0

    async def send(self, inputs: Inputs) -> None:
        """Send one input: a request, a message of an executor, or a template and a condition.

        :raises AssertionError: the answer is not what an answer must be
        """
        if self.sent % CLEANED_EVERY == 0:
            await self._clean()
        self.sent += 1
        if self.sent % 3 == 0:
            self._fill(inputs)
            return
        as_executor = self.sent % 4 == 0
        body = inputs.frame() if as_executor else inputs.body()
        try:
            async with asyncio.timeout(HANGS_SECONDS):
                if as_executor:
                    answer = await self._connection.answer(body)
                else:
                    answer = await self._frames.answer(body, Caller(remote="10.0.0.1"))
        except Exception as error:
            raise AssertionError(f"{body[:2000]!r} raises {error!r}") from error
        if answer is not None:
            self._check(body, answer)

    def _fill(self, inputs: Inputs) -> None:
        """Fill templates and test conditions, as executors do."""
        data, template, question = inputs.data(), inputs.template(), inputs.question()
        for what, run in (
            (template, lambda: compile_template(template).fill(data)),
            (question, lambda: compile_condition(question).holds(data)),
        ):
            try:
                run()
                self.answers["filled"] += 1
            except TemplateError:
                self.answers["unfilled"] += 1
            except Exception as error:
                raise AssertionError(f"{what!r:.2000} with {data!r:.2000} raises") from error

    def _check(self, body: bytes, answer: bytes) -> None:
        decoded = json.loads(answer)
        for one in decoded if isinstance(decoded, list) else [decoded]:
            error = one.get("error")
            assert one.get("jsonrpc") == "2.0", (body[:2000], answer[:2000])
            assert (error is None) is ("result" in one), (body[:2000], answer[:2000])
            code = "result" if error is None else str(error["code"])
            assert code != str(INTERNAL), (body[:2000], answer[:2000])
            self.answers[code] += 1

    async def _clean(self) -> None:
        """Delete what the input has made, and make a task again that it can name."""
        await self._calls("tasks.m_delete", conditions=EVERYTHING)
        for one in await self._calls("principals.list"):  # a disabled one has a pause of its own
            await self._calls("principals.update", id=one["id"], data={"disabled": False})
        for pause in await self._calls("pauses.list"):
            await self._calls("pauses.remove", id=pause["id"])
        await connection_closed(self._manager, self._executor.caller)
        self._executor.heard.clear()
        self._executor.frames.clear()
        await self._calls.create("work", id="of-tasks.get", app_name=STREAM)


@asynccontextmanager
async def target(folder: Path) -> AsyncIterator[Target]:
    """A manager with a database in a folder.

    :raises AssertionError: it does not answer honest calls in the end
    """
    settings = load_settings(environ={}, overrides={"db": f"sqlite:///{folder / 'fuzz.db'}"})
    store = make_store(settings.db)
    await store.open()
    try:
        async with Manager(store, settings).running() as manager:
            made = Target(manager, Frames(manager, method_registry(manager), settings))
            yield made
            await made._clean()
            info: Any = await Calls(manager)("system.info")
            assert info["tasks"] == {STREAM: {"QUEUED": 1}}
    finally:
        await store.close()
