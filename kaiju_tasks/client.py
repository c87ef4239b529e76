"""The asynchronous client: the manager's methods by their names."""

import asyncio
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import aiohttp
import msgspec
from yarl import URL

from kaiju_tasks.address import check_token, is_temporary, read_url
from kaiju_tasks.errors import KaijuError, NotAManager, TooSlow, Unavailable
from kaiju_tasks.rpc.messages import encode_request, remote_error

__all__ = ["Client", "Events", "Methods"]

ENDED = ("FINISHED", "FAILED")
WAIT_SECONDS = 30.0
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 90.0
HEARTBEAT_SECONDS = 20.0

# What may be given without its name, in order; other methods take an `id` first.
POSITIONAL: dict[str, tuple[str, ...]] = {
    "tasks.create": ("data", "on_conflict"),
    "tasks.m_create": ("data",),
    "tasks.validate": ("data",),
    "tasks.m_get": ("ids",),
    "tasks.m_exists": ("ids",),
    "tasks.m_update": ("ids", "data"),
    "tasks.m_delete": ("ids",),
    "tasks.list": ("conditions", "sort", "offset"),
    "tasks.count": ("conditions",),
    "tasks.m_reset": ("conditions",),
    "tasks.m_cancel": ("conditions",),
    "tasks.m_suspend": ("conditions", "wait_stage"),
    "tasks.m_resume": ("conditions",),
    "tasks.update": ("id", "data"),
    "tasks.message": ("id", "data", "name", "message_id", "job_id"),
    "tasks.write_message": ("id", "data", "name", "message_id", "job_id"),
    "tasks.suspend": ("id", "wait_stage"),
    "tasks.restart_from": ("id", "stage"),
    "tasks.runs": ("id", "limit"),
    "tasks.stages": ("job_id",),
    "tasks.delete_old_tasks": ("interval_days",),
    "notifications.list": ("conditions", "sort", "offset"),
    "notifications.update": ("id", "data"),
    "executors.list": (),
    "executors.commands": ("app_name",),
    "manager.list_active_executors": (),
    "system.info": (),
    "audit.list": ("conditions",),
    "rpc.discover": (),
    "cron.preview": ("cron", "timezone", "n", "after"),
}


class _Answer(msgspec.Struct):
    id: Any = None
    result: Any = None
    error: dict[str, Any] | None = None


_decoder: msgspec.json.Decoder[_Answer | list[_Answer]] = msgspec.json.Decoder(
    _Answer | list[_Answer]
)


class Client:
    """Calls a manager.

    Methods are attributes, as `client.tasks.create({...})` or `client.tasks.get(id="x")`;
    results are plain data. An error that the manager answers with is raised as the class of
    `kaiju_tasks.errors` that has its code.

    :param url: the manager, as `http://127.0.0.1:8077`
    :param token: sent as `Authorization: Bearer`
    :raises InvalidParams: one of them is malformed; `field` names it
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        read_url(url, "url")
        address = URL(url)
        self._url = address.with_path("/rpc") if address.path in ("", "/") else address
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            check_token(token, "token")
            self._headers["Authorization"] = f"Bearer {token}"
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None
        self.tasks = TaskMethods(self, "tasks")

    def __getattr__(self, prefix: str) -> "Methods":
        if prefix.startswith("_"):
            raise AttributeError(prefix)
        return Methods(self, prefix)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call a method.

        :param method: its full name, as `tasks.create`
        :returns: its result
        :raises KaijuError: of the class that has the answer's code
        :raises Unavailable: no manager could be asked
        :raises NotAManager: what answers is none
        """
        answer = await self._post(encode_request(next(self._ids), method, params))
        if isinstance(answer, list):
            raise NotAManager(f"{self._url} answered with a batch, not as a manager does")
        return _result(answer)

    async def batch(self, calls: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        """Make several calls in one request; they are independent of each other.

        :param calls: pairs of method and params, at most 100
        :returns: for each call its result, or its KaijuError, in the order of `calls`
        :raises KaijuError: the batch as a whole is refused
        :raises Unavailable: no manager could be asked
        """
        bodies = {next(self._ids): call for call in calls}
        if not bodies:
            return []
        requests = [encode_request(id_, method, params) for id_, (method, params) in bodies.items()]
        answer = await self._post(b"[%b]" % b",".join(requests))
        if isinstance(answer, _Answer):
            _result(answer)
            raise Unavailable(f"{self._url} answered a batch with one answer")
        answers = {one.id: one for one in answer}
        return [_outcome(answers.get(id_)) for id_ in bodies]

    def events(self, conditions: Mapping[str, Any] | None = None) -> "Events":
        """Be told what happens to tasks: `async for event in client.events({...})`.

        As `async with client.events() as events:` the manager has been asked when the block
        begins, and is told nothing more when it ends.

        :param conditions: by field of an event, as in `tasks.list`
        """
        return Events(self, conditions)

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._open_session().ws_connect(
                    self._url, headers=self._headers, heartbeat=HEARTBEAT_SECONDS
                )
        except aiohttp.WSServerHandshakeError as error:
            kind = Unavailable if is_temporary(error.status) else NotAManager
            raise kind(f"{self._url} opens no WebSocket: HTTP {error.status}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"no manager can be reached at {self._url}: {error}") from error

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self._session

    async def _post(self, body: bytes) -> _Answer | list[_Answer]:
        session = self._open_session()
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                session.post(self._url, data=body, headers=self._headers) as response,
            ):
                text = await response.read()
        except TimeoutError as error:
            raise Unavailable(f"the manager at {self._url} did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"no manager can be reached at {self._url}: {error}") from error
        try:
            return _decoder.decode(text)
        except msgspec.DecodeError as error:
            raise _no_answer(response.status, text) from error


class Methods:
    """The methods of one prefix."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def __getattr__(self, verb: str) -> "_Method":
        if verb.startswith("_"):
            raise AttributeError(verb)
        return _Method(self._client, f"{self._prefix}.{verb}")


class _Method:
    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    def __repr__(self) -> str:
        return f"<method {self._name}>"

    async def __call__(self, *values: Any, **params: Any) -> Any:
        names = POSITIONAL.get(self._name, ("id",))
        if len(values) > len(names):
            raise TypeError(f"{self._name} takes the rest of its parameters by name")
        given = dict(zip(names, values, strict=False))
        if twice := given.keys() & params.keys():
            raise TypeError(f"{self._name} got `{min(twice)}` twice")
        return await self._client.call(self._name, **given, **params)


class TaskMethods(Methods):
    """`tasks.*`."""

    async def wait(self, id: str, timeout: float | None = None) -> dict[str, Any]:
        """Wait until the run ends (a schedule's: the open or else the coming one), or the time
        is over.

        :param id: the task
        :param timeout: seconds, from 0; None waits for ever
        :returns: the task as it then is
        :raises NotFound: there is no such task
        """
        loop = asyncio.get_running_loop()
        until = math.inf if timeout is None else loop.time() + timeout
        while True:
            asked_at = loop.time()
            seconds = max(0.0, min(WAIT_SECONDS, until - asked_at))
            task: dict[str, Any] = await self._client.call("tasks.wait", id=id, timeout=seconds)
            answered_early = loop.time() - asked_at < seconds
            if answered_early or task["status"] in ENDED or loop.time() >= until:
                return task


class Events:
    """Events of a manager's tasks, one after the other, as plain data (docs/events.md).

    `events.lost` among them says that some did not come through: look at the tasks.
    """

    def __init__(self, client: Client, conditions: Mapping[str, Any] | None) -> None:
        self._client = client
        self._conditions = conditions
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> Self:
        """
        :raises InvalidParams: a condition is wrong
        :raises Unavailable: no manager can be reached
        """
        self._socket = socket = await self._client._connect()
        params = {"conditions": self._conditions}
        await socket.send_str(encode_request(0, "events.subscribe", params).decode())
        try:
            _result(msgspec.convert(await self._receive(), _Answer))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        """
        :raises TooSlow: events came faster than they were read, and come no more
        :raises Unavailable: the connection is cut; `client.events()` may connect anew
        """
        if self._socket is None:
            await self.__aenter__()
        said = await self._receive()
        event: dict[str, Any] = {"event": said["method"], **said["params"]}
        del event["subscription"]
        if said["method"] == "events.dropped":
            await self.close()
            raise TooSlow(event["reason"])
        return event

    async def close(self) -> None:
        """End the subscription; the events after it are of a new one."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _receive(self) -> dict[str, Any]:
        assert self._socket is not None
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            await self.close()
            raise Unavailable("the connection to the manager is cut: no more events come")
        said: dict[str, Any] = msgspec.json.decode(message.data)
        return said


def _outcome(answer: _Answer | None) -> Any:
    if answer is None:
        return Unavailable("the manager did not answer this call of the batch")
    try:
        return _result(answer)
    except KaijuError as error:
        return error


def _result(answer: _Answer) -> Any:
    if answer.error is None:
        return answer.result
    error = answer.error
    raise remote_error(error.get("code", 0), str(error.get("message")), error.get("data"))


def _no_answer(status: int, text: bytes) -> KaijuError:
    said = text.decode(errors="replace").strip()
    kind = Unavailable if is_temporary(status) else NotAManager
    return kind(f"what is there does not answer as a manager: HTTP {status}: {said:.200}")
