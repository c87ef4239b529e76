"""Connects to managers over WebSockets, with aiohttp."""

import asyncio
import ssl

import aiohttp
from yarl import URL

from kaiju_tasks.address import TokenSource, check_private, check_token, is_temporary
from kaiju_tasks.errors import InvalidParams, reason_of
from kaiju_tasks.executor.transport import (
    Connection,
    ConnectionClosed,
    NoManagerThere,
    Refused,
)

__all__ = ["WebSocketTransport", "rpc_url"]

MAX_FRAME_BYTES = 64 * 1024 * 1024
CLOSE_SECONDS_MAX = 1.0
TOKEN_ENDED = 4401
FRAME_REFUSED = frozenset(
    {
        aiohttp.WSCloseCode.UNSUPPORTED_DATA,
        aiohttp.WSCloseCode.INVALID_TEXT,
        aiohttp.WSCloseCode.POLICY_VIOLATION,
        aiohttp.WSCloseCode.MESSAGE_TOO_BIG,
    }
)


def rpc_url(url: str) -> URL:
    """The WebSocket URL of a manager. The path `/rpc` is added to a URL without a path."""
    address = URL(url)
    return address.with_path("/rpc") if address.path in ("", "/") else address


class WebSocketConnection:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        try:
            await self._socket.send_frame(frame, aiohttp.WSMsgType.TEXT)
        except (ConnectionError, aiohttp.ClientError, RuntimeError) as error:
            raise ConnectionClosed(reason_of(error)) from error

    async def receive(self) -> bytes | str:
        message = await self._socket.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            frame: bytes | str = message.data
            return frame
        code = self._socket.close_code
        refused = code in FRAME_REFUSED
        reason = "the token is no longer valid" if code == TOKEN_ENDED else f"code {code}"
        raise ConnectionClosed(f"closed by the manager ({reason})", frame_refused=refused)

    async def close(self) -> None:
        await self._socket.close()


class WebSocketTransport:
    """Opens WebSockets to managers.

    :param token: sent as `Authorization: Bearer`, never in the URL; a function is called for each
        connection, so that a new token is used from the next one on
    :raises InvalidParams: the token has characters that a header cannot contain
    """

    def __init__(self, token: TokenSource = None) -> None:
        if isinstance(token, str):
            check_token(token, "token")
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def connect(self, url: str, seconds: float) -> Connection:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        headers = self._headers(url)
        try:
            async with asyncio.timeout(seconds):
                socket = await self._session.ws_connect(
                    rpc_url(url),
                    headers=headers,
                    max_msg_size=MAX_FRAME_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=min(CLOSE_SECONDS_MAX, seconds)),
                )
        except TimeoutError as error:
            raise ConnectionClosed(f"no answer within {seconds:.3g} s") from error
        except (OSError, aiohttp.ClientError) as error:
            raise _not_connected(error) from error
        return WebSocketConnection(socket)

    def _headers(self, url: str) -> dict[str, str]:
        try:
            token = self._token() if callable(self._token) else self._token
        except InvalidParams as error:
            raise ConnectionClosed(f"there is no token: {error}") from error
        if token is None:
            return {}
        try:
            check_private(url, "the URL of the manager")
        except InvalidParams as error:
            raise NoManagerThere(str(error)) from error
        return {"Authorization": f"Bearer {token}"}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _not_connected(error: Exception) -> ConnectionClosed:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return _no_handshake(error.status)
    if isinstance(error, aiohttp.ClientResponseError):
        return NoManagerThere("the server does not speak HTTP")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return NoManagerThere(f"its certificate is not accepted ({error.certificate_error})")
    if isinstance(error, aiohttp.ClientConnectorSSLError) and not _is_cut(error):
        return NoManagerThere(
            "the server does not speak TLS: the URL may have to begin with http://"
        )
    return ConnectionClosed(reason_of(error))


def _is_cut(error: aiohttp.ClientConnectorSSLError) -> bool:
    """Whether the connection was closed during the handshake, as by a proxy without a backend."""
    return isinstance(error.os_error, ssl.SSLEOFError | ssl.SSLZeroReturnError)


def _no_handshake(status: int) -> ConnectionClosed:
    if status in (401, 403):
        return Refused(_refusal(status))
    if is_temporary(status):
        return ConnectionClosed(f"HTTP status {status}")
    return NoManagerThere(f"the server does not open a WebSocket (HTTP status {status})")


def _refusal(status: int) -> str:
    if status == 401:
        return "the manager requires a valid token of the kind `executor`"
    return "this token does not allow to serve these streams: use one of the kind `executor`"
