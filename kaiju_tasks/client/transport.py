"""The connections of a client to its manager."""

import asyncio
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from kaiju_tasks.address import check_private, check_token, is_temporary, read_url
from kaiju_tasks.errors import KaijuError, NotAManager, Unauthorized, Unavailable
from kaiju_tasks.rpc.messages import remote_error
from kaiju_tasks.unanswered import describe_response, why_unreachable

__all__ = ["Answer", "InDoubt", "Transport", "Unsent", "read_outcome", "read_result"]

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 90.0
HEARTBEAT_SECONDS = 20.0
REFUSALS = frozenset({401, 403})
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Unsent(Unavailable):
    """No connection could be opened: the call was not sent."""


class InDoubt(Unavailable):
    """No answer arrived: the manager may or may not have carried out the call."""


class Redirected(aiohttp.ClientError):
    """The server redirects, as no manager does. To follow would lose the body of a request."""


class ErrorObject(msgspec.Struct):
    """The error of a JSON-RPC answer."""

    code: int
    message: str
    data: Any = None


class Answer(msgspec.Struct):
    """One JSON-RPC answer."""

    id: Any = None
    result: Any = None
    error: ErrorObject | None = None


_decoder: msgspec.json.Decoder[Answer | list[Answer]] = msgspec.json.Decoder(Answer | list[Answer])


class Transport:
    """Sends requests to one manager and opens WebSockets to it.

    :param url: URL of the manager, for example `http://127.0.0.1:8077`
    :param token: sent as `Authorization: Bearer`
    :raises InvalidParams: a parameter is malformed, or the token would be sent unencrypted to
        another machine; `field` is its name
    """

    def __init__(self, url: str, token: str | None) -> None:
        read_url(url, "url")
        address = URL(url)
        self._shown = url
        self.url = address.with_path("/rpc") if address.path in ("", "/") else address
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            check_token(token, "token")
            check_private(url, "url")
            self._headers["Authorization"] = f"Bearer {token}"
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, body: bytes, seconds: float = ANSWER_SECONDS) -> Answer | list[Answer]:
        """Send a request and return its answer.

        :param seconds: how long to wait for the answer
        :raises Unsent: no connection could be opened
        :raises InDoubt: the request was sent, but no answer arrived
        :raises NotAManager: the server at the URL is not a manager
        """
        session = self._open_session()
        try:
            async with (
                asyncio.timeout(seconds),
                session.post(self.url, data=body, headers=self._headers) as response,
            ):
                text = await response.read()
        except Redirected as error:
            raise self.not_a_manager(str(error)) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise self._unreachable(error) from error
        except TimeoutError as error:
            raise InDoubt(f"the manager at {self._shown} did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            reason = why_unreachable(error)
            raise InDoubt(f"the manager at {self._shown} did not answer: {reason}") from error
        try:
            return _decoder.decode(text)
        except msgspec.DecodeError as error:
            raise self._no_answer(response.status, text) from error

    async def open_socket(self) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket.

        :raises Unsent: the WebSocket cannot be opened
        :raises NotAManager: the server at the URL is not a manager
        :raises Unauthorized: the manager refuses the token
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._open_session().ws_connect(
                    self.url, headers=self._headers, heartbeat=HEARTBEAT_SECONDS
                )
        except Redirected as error:
            raise self.not_a_manager(str(error)) from error
        except aiohttp.WSServerHandshakeError as error:
            raise self._refused(error.status) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, middlewares=[_refuse_redirects])
        return self._session

    def _unreachable(self, error: Exception) -> Unsent:
        return Unsent(f"no manager answers at {self._shown} ({why_unreachable(error)})")

    def _refused(self, status: int) -> KaijuError:
        reason = f"it refused a WebSocket: HTTP {status}"
        if is_temporary(status):
            return Unsent(f"the manager at {self._shown} is not available now ({reason})")
        if status in REFUSALS:
            return Unauthorized(f"the manager at {self._shown} requires another token ({reason})")
        return self.not_a_manager(reason)

    def _no_answer(self, status: int, text: bytes) -> Unavailable:
        reason = describe_response(status, text)
        if is_temporary(status):
            return InDoubt(f"the manager at {self._shown} is not available now ({reason})")
        return self.not_a_manager(reason)

    def not_a_manager(self, reason: str) -> NotAManager:
        return NotAManager(
            f"the server at {self._shown} does not answer as a kaiju_tasks manager ({reason})"
        )


async def _refuse_redirects(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    response = await send(request)
    if response.status in REDIRECTS:
        response.close()
        location = response.headers.get("Location", "nowhere")
        raise Redirected(f"HTTP {response.status}: it redirects to {location:.200}")
    return response


def read_result(answer: Answer) -> Any:
    """Return the result of an answer.

    :raises KaijuError: the answer is an error; the class is the one with its code
    """
    if answer.error is None:
        return answer.result
    error = answer.error
    raise remote_error(error.code, error.message, error.data)


def read_outcome(answer: Answer | None) -> Any:
    """Return the result or the KaijuError of one call of a batch."""
    if answer is None:
        return Unavailable("the manager did not answer this call of the batch")
    try:
        return read_result(answer)
    except KaijuError as error:
        return error
