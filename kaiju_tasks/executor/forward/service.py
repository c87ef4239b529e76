"""Calls a service over HTTP: one request for each stage, within its time and within bounds."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from functools import partial
from random import Random
from typing import Any, NamedTuple

import aiohttp
import msgspec
from yarl import URL

from kaiju_tasks.backoff import Backoff
from kaiju_tasks.errors import reason_of
from kaiju_tasks.executor.context import Context
from kaiju_tasks.executor.failures import NotBegun, ReportedError, ResultTooLarge
from kaiju_tasks.executor.forward.answer import (
    Answer,
    NotJson,
    answer_limit,
    parse_retry_after,
    read_body,
    too_large,
)
from kaiju_tasks.executor.forward.availability import Availability
from kaiju_tasks.executor.forward.callbacks import Callback, Callbacks
from kaiju_tasks.executor.forward.dialects import Dialect
from kaiju_tasks.executor.forward.headers import Headers
from kaiju_tasks.executor.forward.masking import masked
from kaiju_tasks.executor.forward.parts import Splitter, splitter
from kaiju_tasks.executor.offer import Offer
from kaiju_tasks.executor.rpc_failures import ServiceAway, failure
from kaiju_tasks.version import __version__

__all__ = ["Service", "http_session", "look_seconds"]

logger = logging.getLogger("kaiju_tasks.executor.command")

AWAY = frozenset({429, 503})
"""The service has not begun the call."""
IN_DOUBT = frozenset({502, 504})
"""A proxy has lost the service, which may have begun the call."""
ACCEPTED = 202
ACCEPTS = "application/json, application/x-ndjson, text/event-stream"
PROBE_SECONDS = 10.0
PROBE_BYTES = 4 * 1024 * 1024
LOOK_SECONDS, LOOK_SECONDS_MAX = 0.5, 30.0
"""The waits between two questions about work that the service has accepted."""
LOOK_SECONDS_MIN = 0.1
"""The shortest wait, also after `Retry-After: 0`."""
KEEPALIVE_SECONDS = 1.0
"""Below the 2 seconds after which gunicorn closes an idle connection, and the 5 of Node: a request
on a connection that is just being closed is lost."""


@contextlib.asynccontextmanager
async def http_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Open the HTTP session of all calls. It has no limit of time: the deadline of the stage ends a
    call, and a second limit would hide the real reason."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield session


class _Call(NamedTuple):
    """A call that is under way.

    :param callback: where the service reports about it, if it can
    """

    ctx: Context
    callback: Callback | None

    @property
    def limit(self) -> int:
        """The most bytes of the answer."""
        return answer_limit(self.ctx.max_result_bytes)


class Service:
    """The service of a ForwardExecutor.

    :param offer: its ceiling is 0 while the service is away
    :param now: the source of the time, UNIX seconds
    :param on_answer: called with the description by which the service shows that it is back
    :param callbacks: of the calls, if the service can call this executor
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        dialect: Dialect,
        headers: Headers,
        offer: Offer,
        now: Callable[[], float] = time.time,
        on_answer: Callable[[Answer | None], None] = lambda _: None,
        random: Random | None = None,
        callbacks: Callbacks | None = None,
    ) -> None:
        self._session = session
        self._dialect = dialect
        self._headers = headers
        self._now = now
        self._on_answer = on_answer
        self._random = random or Random()
        self._callbacks = callbacks
        self.availability = Availability(
            f"the service {dialect.url}", self._probe, offer, self._random
        )

    async def call(self, ctx: Context, method: str, params: dict[str, Any]) -> Any:
        """Run a stage.

        :returns: the result, as a JSON value
        :raises NotBegun: the service is away
        :raises Exception: the stage fails with it
        """
        if self.availability.away:
            raise NotBegun("the service is away")
        url, body = self._dialect.request(method, params, ctx.idempotency_key)
        with self.availability.calling(), self._expecting(ctx) as callback:
            try:
                answer = await self._answer(call := _Call(ctx, callback), url, body)
            except ServiceAway as error:
                self.availability.lost(error)
                raise NotBegun(str(error)) from error
            except (OSError, aiohttp.ClientError) as error:
                reason = f"{url} has broken the connection off: {self._reason(error)}"
                self.availability.lost(Exception(reason))
                raise failure(reason) from error
            except (ReportedError, ResultTooLarge):
                self.availability.answered()
                raise
        self.availability.answered()
        return self._dialect.result(answer, ctx.idempotency_key, self._secrets(call))

    async def describe(self) -> Answer | None:
        """Ask the service for its description, or whether it is there.

        :returns: the answer; None if it cannot be read, or does not come in time
        :raises ServiceAway: the service is away
        """
        try:
            return await self._ask()
        except TimeoutError:
            return None  # it may be busy with calls

    async def _probe(self) -> None:
        try:
            answer = await self._ask()
        except TimeoutError:
            raise ServiceAway(f"no answer within {PROBE_SECONDS:g} seconds") from None
        self._on_answer(answer)

    async def _ask(self) -> Answer | None:
        verb, url, body = self._dialect.probe()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                async with self._send(verb, url, body, self._headers.values()) as response:
                    self._refuse_away(response)
                    if response.status in IN_DOUBT:
                        raise ServiceAway(f"HTTP status {response.status}")
                    return await self._whole(response, PROBE_BYTES)
        except TimeoutError as error:
            if isinstance(error, aiohttp.ClientError):  # not connected in time
                raise ServiceAway(self._reason(error)) from error
            raise
        except (OSError, aiohttp.ClientError) as error:
            raise ServiceAway(self._reason(error)) from error
        except (ReportedError, ResultTooLarge):
            return None

    def _expecting(self, ctx: Context) -> contextlib.AbstractContextManager[Callback | None]:
        if self._callbacks is None:
            return contextlib.nullcontext()
        return self._callbacks.expecting(answer_limit(ctx.max_result_bytes))

    async def _answer(self, call: _Call, url: URL, body: bytes) -> Answer:
        headers = self._call_headers(call.ctx)
        if call.callback is not None:
            headers["Callback"] = str(call.callback.url)
        try:
            async with self._send("POST", url, body, headers) as response:
                self._refuse_away(response)
                if response.status != ACCEPTED:
                    return await self._read(call, response)
                outcomes = self._outcomes_of_work(call, response)
                await self._take_progress(call, response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ServiceAway(self._reason(error)) from error
        return await _first([outcome() for outcome in outcomes])

    def _outcomes_of_work(
        self, call: _Call, response: aiohttp.ClientResponse
    ) -> list[Callable[[], Coroutine[Any, Any, Answer]]]:
        """The ways to wait for the outcome of work that the service has accepted.

        :raises Exception: there is none
        """
        outcomes: list[Callable[[], Coroutine[Any, Any, Answer]]] = []
        if call.callback is not None:
            outcomes.append(partial(self._called_back, call, call.callback))
        if call.callback is None or "Location" in response.headers:
            place, seconds = self._place_of_work(response), self._retry_after(response)
            outcomes.append(partial(self._outcome_at, call, place, seconds))
        return outcomes

    async def _called_back(self, call: _Call, callback: Callback) -> Answer:
        while True:
            message = await callback.next()
            if not self._is_meanwhile(call, message):
                return Answer(ACCEPTED, "", message, part=True)

    async def _outcome_at(self, call: _Call, place: URL, seconds: float | None) -> Answer:
        """Ask for the outcome of work until it has ended. A service that is away meanwhile is asked
        again: it may continue with the work."""
        waits = Backoff(self._random, first=LOOK_SECONDS, most=LOOK_SECONDS_MAX)
        while True:
            await asyncio.sleep(look_seconds(seconds, waits))
            seconds = None
            try:
                async with self._send("GET", place, None, self._call_headers(call.ctx)) as response:
                    seconds = self._retry_after(response)
                    if response.status in AWAY | IN_DOUBT:
                        continue
                    if response.status != ACCEPTED:
                        return await self._read(call, response)
                    await self._take_progress(call, response)
            except (OSError, aiohttp.ClientError):
                continue

    def _send(self, verb: str, url: URL, body: bytes | None, headers: dict[str, str]) -> Any:
        own = {
            "Accept": ACCEPTS,
            "Accept-Encoding": "identity",
            "User-Agent": f"kaiju-tasks/{__version__}",
        }
        if body is not None:
            own["Content-Type"] = "application/json"
        return self._session.request(
            verb, url, data=body, headers=own | headers, allow_redirects=False
        )

    def _call_headers(self, ctx: Context) -> dict[str, str]:
        seconds = ctx.deadline
        return self._headers.values() | {
            "Correlation-Id": ctx.job_id,
            "Deadline": f"{self._now() + seconds:.3f}",
            "Timeout": f"{seconds:.3f}",
            "Idempotency-Key": ctx.idempotency_key,
        }

    def _refuse_away(self, response: aiohttp.ClientResponse) -> None:
        if response.status in AWAY:
            raise ServiceAway(f"HTTP status {response.status}", self._retry_after(response))

    def _retry_after(self, response: aiohttp.ClientResponse) -> float | None:
        return parse_retry_after(response.headers.get("Retry-After"), self._now())

    async def _read(self, call: _Call, response: aiohttp.ClientResponse) -> Answer:
        if response.status in IN_DOUBT:
            self.availability.lost(Exception(f"HTTP status {response.status}"))
        parts = splitter(response.content_type) if 200 <= response.status < 300 else None
        if parts is not None and not _is_compressed(response):
            return await self._last_part(call, response, parts)
        return await self._whole(response, call.limit)

    async def _whole(self, response: aiohttp.ClientResponse, limit: int) -> Answer:
        if 300 <= response.status < 400:
            raise failure(self._redirect(response), {"status": response.status})
        if _is_compressed(response):
            coding = response.headers["Content-Encoding"]
            raise failure(self._text(f"the service has compressed its answer ({coding:.50})"))
        body = await read_body(response, limit)
        declared = "Content-Type" in response.headers
        return Answer(response.status, response.content_type if declared else "", body)

    async def _last_part(
        self, call: _Call, response: aiohttp.ClientResponse, parts: Splitter
    ) -> Answer:
        limit = call.limit
        async for data in response.content.iter_any():
            for message in parts.feed(data):
                if not self._is_meanwhile(call, message):
                    return _checked(response.status, message, limit)
            if parts.held > limit:
                raise too_large(limit)
        for message in parts.end():
            if not self._is_meanwhile(call, message):
                return _checked(response.status, message, limit)
        raise failure("the answer of the service has ended without a result")

    def _is_meanwhile(self, call: _Call, message: bytes) -> bool:
        """Whether a message is a notification. Take it then."""
        try:
            value = msgspec.json.decode(message)
        except (msgspec.DecodeError, RecursionError):
            return False
        if not isinstance(value, dict) or "method" not in value:
            return False
        params = value.get("params")
        try:
            self._notified(call, value["method"], params if isinstance(params, dict) else {})
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            said = self._text(repr(error), call)
            logger.warning("the service sent a wrong notification: %s", said)
        return True

    def _notified(self, call: _Call, method: Any, params: dict[str, Any]) -> None:
        ctx = call.ctx
        match method:
            case "progress":
                total = params.get("total")
                text = params.get("message")
                ctx.progress(
                    float(params["done"]),
                    None if total is None else float(total),
                    None if text is None else self._text(str(text), call)[:1000],
                )
            case "log":
                level = str(params.get("level", "info"))
                ctx.log(self._text(str(params["message"]), call)[:2000], level)
            case "extend":
                ctx.extend(float(params["seconds"]))

    async def _take_progress(self, call: _Call, response: aiohttp.ClientResponse) -> None:
        answer = await self._whole(response, call.limit)
        try:
            value = answer.value() if answer.body.strip() else None
        except NotJson:
            return  # text for people
        if isinstance(value, dict) and isinstance(value.get("progress"), dict):
            message = {"method": "progress", "params": value["progress"]}
            self._is_meanwhile(call, msgspec.json.encode(message))

    def _place_of_work(self, response: aiohttp.ClientResponse) -> URL:
        location = response.headers.get("Location")
        if location is None:
            raise failure(
                "the service has accepted the work (HTTP status 202) without a header `Location` "
                "at which it can be asked for the outcome, and the executor has no address for "
                "callbacks"
            )
        try:
            place = response.url.join(URL(location)).with_user(None)
            elsewhere = place.origin() != response.url.origin()
        except ValueError:
            raise failure("the header `Location` of the service is no URL") from None
        if elsewhere:
            raise failure(
                f"the header `Location` leads to {_shown(place)}, which is not the service: "
                "credentials are sent to the service only"
            )
        return place

    def _redirect(self, response: aiohttp.ClientResponse) -> str:
        text = f"the service answered with a redirect (HTTP status {response.status})"
        try:
            target = _shown(response.url.join(URL(response.headers.get("Location", ""))))
        except ValueError:
            target = "nowhere"
        return self._text(f"{text} to {target}, which is not followed: use the final URL")

    def _reason(self, error: Exception) -> str:
        if isinstance(error, aiohttp.ClientConnectorError):
            error = error.os_error
        return self._text(reason_of(error))

    def _secrets(self, call: _Call | None = None) -> Iterable[str]:
        """The texts that must not appear in messages, and in those of a call also its token."""
        secrets = list(self._headers.secrets())
        if call is not None and call.callback is not None:
            secrets.append(call.callback.token)
        return secrets

    def _text(self, text: str, call: _Call | None = None) -> str:
        cleaned: str = masked(text, self._secrets(call))
        return cleaned


def look_seconds(asked: float | None, waits: Backoff) -> float:
    """The wait before the next question about work.

    :param asked: seconds that the service asks for; None if it does not
    """
    return waits.next() if asked is None else max(LOOK_SECONDS_MIN, asked)


async def _first(works: Iterable[Coroutine[Any, Any, Answer]]) -> Answer:
    """The outcome of the one that ends first. The others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _checked(status: int, message: bytes, limit: int) -> Answer:
    if len(message) > limit:
        raise too_large(limit)
    return Answer(status, "", message, part=True)


def _is_compressed(response: aiohttp.ClientResponse) -> bool:
    return response.headers.get("Content-Encoding", "identity").strip().lower() != "identity"


def _shown(url: URL) -> str:
    """A URL without user name, password and query."""
    return str(url.with_user(None).with_query(None).with_fragment(None))[:200]
