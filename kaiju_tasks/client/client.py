"""The asynchronous client: the manager's methods as attributes."""

import itertools
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from kaiju_tasks.client.calls import make_call
from kaiju_tasks.client.events import Events
from kaiju_tasks.client.methods import Methods, TaskMethods
from kaiju_tasks.client.outage import RETRY_SECONDS, Outage
from kaiju_tasks.client.transport import (
    ANSWER_SECONDS,
    Answer,
    Transport,
    Unsent,
    read_outcome,
    read_result,
)
from kaiju_tasks.client.waiting import Waiting
from kaiju_tasks.reads import READS
from kaiju_tasks.rpc.messages import encode_request

if TYPE_CHECKING:
    from kaiju_tasks.client.signatures import ClientMethods
else:
    ClientMethods = object

__all__ = ["Client"]


class Client(ClientMethods):
    """Calls the methods of a manager.

    Methods are attributes, for example `client.tasks.create({...})` or `client.tasks.get(id="x")`.
    Results are plain data. An error of the manager is raised as the class of `kaiju_tasks.errors`
    that has its code.

    If the manager stops answering, the client logs a warning and repeats the calls that can be
    repeated (see docs/api.md). It does not wait for a manager that has never answered.

    :param url: URL of the manager, for example `http://127.0.0.1:8077`
    :param token: sent as `Authorization: Bearer`
    :param retry_seconds: how long a call, a wait or a subscription is repeated while the manager
        does not answer, in seconds from 0; 0 raises immediately, `math.inf` repeats forever
    :raises InvalidParams: a parameter is malformed; `field` is its name
    """

    def __init__(
        self, url: str, token: str | None = None, *, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._transport = Transport(url, token)
        self._outage = Outage(url, retry_seconds, partial(self._ask_once, "system.info", {}))
        self._ids = itertools.count(1)

    if not TYPE_CHECKING:  # type checkers know the methods by their signatures

        def __getattr__(self, prefix: str) -> Methods:
            if prefix.startswith("_"):
                raise AttributeError(prefix)
            if prefix == "tasks":
                return TaskMethods(self.call, self._wait)
            return Methods(self.call, prefix)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call a method.

        :param method: its full name, for example `tasks.create`
        :returns: its result
        :raises KaijuError: the manager's error, of the class that has its code
        :raises Unavailable: the manager does not answer
        :raises NotAManager: the server at the URL is not a manager
        """
        call = make_call(self._ask_once, method, params)
        return await self._outage.outlast(call.once, call.may_repeat)

    async def _ask_once(
        self, method: str, params: Mapping[str, Any], seconds: float = ANSWER_SECONDS
    ) -> Any:
        """Call a method without repeating it.

        :param seconds: how long to wait for the answer
        """
        answer = await self._transport.post(
            encode_request(next(self._ids), method, params), seconds=seconds
        )
        if isinstance(answer, list):
            raise self._transport.not_a_manager("it answered one call with a batch")
        return read_result(answer)

    async def _wait(self, id: str, timeout: float | None) -> dict[str, Any]:
        return await Waiting(self._ask_once, self._outage, id, timeout).run()

    async def batch(self, calls: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        """Make several independent calls in one request.

        :param calls: (method, params) of each call, at most 100
        :returns: for each call its result or its KaijuError, in the order of `calls`
        :raises KaijuError: the manager refuses the batch as a whole
        :raises Unavailable: the manager does not answer
        """
        listed = list(calls)
        if not listed:
            return []
        reads = all(method in READS for method, _ in listed)
        return await self._outage.outlast(
            partial(self._batch_once, listed),
            lambda error: reads or isinstance(error, Unsent),
        )

    async def _batch_once(self, calls: list[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        bodies = {next(self._ids): call for call in calls}
        requests = [encode_request(id_, method, params) for id_, (method, params) in bodies.items()]
        answer = await self._transport.post(b"[%b]" % b",".join(requests))
        if isinstance(answer, Answer):
            read_result(answer)
            raise self._transport.not_a_manager("it answered a batch with one answer")
        answers = {one.id: one for one in answer}
        return [read_outcome(answers.get(id_)) for id_ in bodies]

    def events(self, conditions: Mapping[str, Any] | None = None) -> Events:
        """Subscribe to the events of tasks: `async for event in client.events({...})`.

        With `async with client.events() as events:` the subscription begins and ends with the
        block.

        :param conditions: conditions on the fields of an event, as in `tasks.list`
        """
        return Events(self._transport, self._outage, conditions)
