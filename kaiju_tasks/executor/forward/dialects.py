"""Writes the requests of a service and reads its answers: JSON-RPC 2.0, or plain HTTP. Pure."""

from collections.abc import Iterable
from typing import Any, NoReturn, Protocol
from urllib.parse import quote

import msgspec
from yarl import URL

from kaiju_tasks.executor.failures import UnknownMethod
from kaiju_tasks.executor.forward.answer import Answer, NotJson
from kaiju_tasks.executor.forward.masking import excerpt, masked
from kaiju_tasks.executor.messages import RpcError
from kaiju_tasks.executor.rpc_failures import failure, failure_of, is_final
from kaiju_tasks.types import ErrorType

__all__ = ["DISCOVER", "Dialect", "JsonRpc", "PlainHttp"]

DISCOVER = "rpc.discover"
INT32 = 2**31


class Dialect(Protocol):
    """How a service is called.

    :ivar url: of the service, without user name and password
    """

    url: URL

    def request(self, method: str, params: dict[str, Any], key: str) -> tuple[URL, bytes]:
        """The URL and the body of a POST request.

        :param key: the idempotency key of the stage
        :raises UnknownMethod: the service cannot have this method
        """
        ...

    def probe(self) -> tuple[str, URL, bytes | None]:
        """The HTTP method, the URL and the body of a request that changes nothing. Whatever the
        service answers, it is there."""
        ...

    def result(self, answer: Answer, key: str, secrets: Iterable[str]) -> Any:
        """The result in an answer.

        :param secrets: texts that must not appear in an error
        :raises Exception: the answer is no success; the stage fails with it
        """
        ...


class JsonRpc:
    """JSON-RPC 2.0 at one URL. Only a response to the own request is an answer."""

    def __init__(self, url: URL) -> None:
        self.url = url

    def request(self, method: str, params: dict[str, Any], key: str) -> tuple[URL, bytes]:
        body = {"jsonrpc": "2.0", "id": key, "method": method, "params": params}
        return self.url, msgspec.json.encode(body)

    def probe(self) -> tuple[str, URL, bytes | None]:
        url, body = self.request(DISCOVER, {}, DISCOVER)
        return "POST", url, body

    def result(self, answer: Answer, key: str, secrets: Iterable[str]) -> Any:
        response = self._response(answer, key, secrets)
        error = response.get("error")
        if error is None and "result" in response:
            if not answer.good:
                _refuse(answer, secrets, f"{self.url} answered with a result and")
            return response["result"]
        raise failure_of(_rpc_error(error, answer, self.url, secrets))

    def _response(self, answer: Answer, key: str, secrets: Iterable[str]) -> dict[str, Any]:
        what = f"{self.url} answered with"
        try:
            value = answer.value()
        except NotJson as problem:
            said = "nothing" if not answer.body.strip() else f"no JSON ({problem})"
            _refuse(answer, secrets, f"{what} {said} instead of a JSON-RPC 2.0 response,")
        if isinstance(value, list):
            _refuse(answer, secrets, f"{what} a batch to a single request,")
        if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
            _refuse(answer, secrets, f"{what} JSON that is no JSON-RPC 2.0 response,")
        if value.get("id") != key and not (value.get("id") is None and value.get("error")):
            _refuse(answer, secrets, f"{what} the id of another request,")
        if value.get("error") is not None and value.get("result") is not None:
            _refuse(answer, secrets, f"{what} a result and an error at once,")
        if value.get("error") is None and "result" not in value:
            _refuse(answer, secrets, f"{what} neither a result nor an error,")
        return value


class PlainHttp:
    """One URL for each method: `BASE/METHOD`. The parameters are the JSON body of a POST request,
    and the JSON body of the answer is the result."""

    def __init__(self, url: URL) -> None:
        self.url = url

    def request(self, method: str, params: dict[str, Any], key: str) -> tuple[URL, bytes]:
        if method in (".", ".."):
            raise UnknownMethod(f"`{method}` cannot be the last part of a URL")
        path = f"{self.url.raw_path.rstrip('/')}/{quote(method, safe='')}"
        url = URL.build(
            scheme=self.url.scheme,
            authority=self.url.raw_authority,
            path=path,
            query_string=self.url.raw_query_string,
            encoded=True,
        )
        return url, msgspec.json.encode(params)

    def probe(self) -> tuple[str, URL, bytes | None]:
        return "GET", self.url, None

    def result(self, answer: Answer, key: str, secrets: Iterable[str]) -> Any:
        if answer.part:
            return self._last_part(answer, secrets)
        if not answer.good:
            raise self._failure(answer, secrets)
        if not answer.body.strip():
            return None
        if answer.is_json:
            try:
                return answer.value()
            except NotJson as problem:
                _refuse(answer, secrets, f"the service answered with no JSON ({problem}),")
        kind = answer.content_type or "no content type"
        _refuse(answer, secrets, f"the service answered with {kind} instead of JSON,")

    def _last_part(self, answer: Answer, secrets: Iterable[str]) -> Any:
        try:
            value = answer.value()
        except NotJson as problem:
            _refuse(answer, secrets, f"the service sent a message that is no JSON ({problem}),")
        if isinstance(value, dict) and value.get("error") is not None:
            raise _stated(value["error"], answer.status, ErrorType.EXECUTION, secrets)
        if isinstance(value, dict) and "result" in value:
            return value["result"]
        _refuse(answer, secrets, "the service sent a message that has no result and no error,")

    def _failure(self, answer: Answer, secrets: Iterable[str]) -> Exception:
        try:
            value = answer.value() if answer.is_json else None
        except NotJson:
            value = None
        if value is None and answer.status in (404, 405, 501):
            return failure(
                f"the service has no such method (HTTP status {answer.status})",
                _details(answer, secrets),
                kind=ErrorType.UNKNOWN_METHOD,
            )
        kind = ErrorType.INVALID_PARAMS if answer.status in (400, 422) else ErrorType.EXECUTION
        if answer.status == 410:
            kind = ErrorType.ABORT
        if value is None:
            text = f"the service answered with HTTP status {answer.status}"
            return failure(
                _with_excerpt(text, answer, secrets), _details(answer, secrets), kind=kind
            )
        return _stated(value, answer.status, kind, secrets)


def _stated(value: Any, status: int, kind: ErrorType, secrets: Iterable[str]) -> Exception:
    """The failure that a service describes: text, or an object with a message."""
    value = masked(value, secrets)
    fields = value if isinstance(value, dict) else {}
    if is_final(fields):
        kind = ErrorType.ABORT
    data = {"status": status, "data": value}
    if kind is ErrorType.INVALID_PARAMS:
        data["field"] = str(fields.get("field", "params"))
    return failure(_message(value) or f"HTTP status {status}", data, kind=kind)


def _message(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        for name in ("message", "detail", "error", "title"):
            if text := _message(value.get(name)):
                return text
    return ""


def _rpc_error(error: Any, answer: Answer, url: URL, secrets: Iterable[str]) -> RpcError:
    error = masked(error, secrets)
    fields: dict[str, Any] = error if isinstance(error, dict) else {}
    match fields:
        case {"code": int(code), "message": str(message)} if code is not True and code is not False:
            if -INT32 <= code < INT32:
                return RpcError(code, message, fields.get("data"))
    _refuse(answer, secrets, f"{url} answered with an error without a code and a message,")


def _refuse(answer: Answer, secrets: Iterable[str], text: str) -> NoReturn:
    """:raises Exception: the answer is not what it has to be"""
    text = f"{text} HTTP status {answer.status}"
    raise failure(_with_excerpt(text, answer, secrets), _details(answer, secrets))


def _with_excerpt(text: str, answer: Answer, secrets: Iterable[str]) -> str:
    body = excerpt(answer.body, secrets)
    return f"{text}: {body}" if body else text


def _details(answer: Answer, secrets: Iterable[str]) -> dict[str, Any]:
    return {"status": answer.status, "body": excerpt(answer.body, secrets)}
