"""JSON-RPC 2.0 messages as bytes: encoding of requests, and decoding of answers."""

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from kaiju_tasks import errors
from kaiju_tasks.errors import InvalidRequest, KaijuError
from kaiju_tasks.rpc.edge import Limits, decode

__all__ = [
    "Id",
    "Response",
    "encode_error",
    "encode_notification",
    "encode_request",
    "encode_result",
    "read_response",
    "remote_error",
]

Id = int | float | str | None

_encode = msgspec.json.Encoder().encode

_BY_CODE: dict[int, type[KaijuError]] = {
    kind.code: kind
    for kind in (
        errors.ParseError,
        errors.InvalidRequest,
        errors.MethodNotFound,
        errors.InvalidParams,
        errors.InternalError,
        errors.Unauthorized,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.StaleLease,
        errors.TooLarge,
        errors.TooManyRequests,
        errors.Unavailable,
    )
}


class _ErrorObject(Struct):
    code: int
    message: str
    data: Any = None


class _Answer(Struct):
    id: Id = None
    result: Raw = Raw()
    error: _ErrorObject | None = None


class Response(Struct, frozen=True):
    """The answer to a request: `error`, or otherwise `result` as bytes."""

    id: Id
    result: Raw = field(default_factory=lambda: Raw(b"null"))
    error: KaijuError | None = None


def encode_request(id: int | str, method: str, params: Any) -> bytes:
    """Encode a request.

    :param id: id of the request, unique among the open requests
    :param params: a struct or dict
    """
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (
        _encode(id),
        _encode(method),
        _encode(params),
    )


def encode_notification(method: str, params: Any) -> bytes:
    """Encode a notification, which has no answer.

    :param params: a struct or dict
    """
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (_encode(method), _encode(params))


def encode_result(id: Id, result: Any) -> bytes:
    """Encode the answer to a call that succeeded. None becomes null."""
    return b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (_encode(result), _encode(id))


def encode_error(id: Id, error: KaijuError) -> bytes:
    """Encode the answer to a call that failed.

    :param id: id of the request; None if it is unknown
    """
    shown = {"code": error.code, "message": error.message, "data": error.data}
    return b'{"jsonrpc":"2.0","error":%b,"id":%b}' % (_encode(shown), _encode(id))


def read_response(body: bytes, limits: Limits) -> Response | None:
    """Read the answer to a request.

    :param body: a message from the other side
    :returns: None if the message is a call or a batch of calls, which `dispatch` answers
    :raises ParseError, TooLarge, InvalidParams: as in `decode`
    :raises InvalidRequest: the message is neither a call nor an answer
    """
    if not isinstance(value := decode(body, limits), dict) or "method" in value:
        return None
    if ("result" in value) == ("error" in value):
        raise InvalidRequest("an answer must have either `result` or `error`")
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"this is not a JSON-RPC 2.0 answer: {error}") from None
    if "result" in value:
        return Response(answer.id, answer.result)
    if answer.error is None:
        raise InvalidRequest("`error` of an answer must be an object, not null")
    return Response(answer.id, error=remote_error(**msgspec.structs.asdict(answer.error)))


def remote_error(code: int, message: str, data: Any) -> KaijuError:
    """Return the error of the other side, as the class that has its code."""
    error = _BY_CODE.get(code, KaijuError)(message)
    if error.code != code:
        error.data["code"] = code
    if isinstance(data, dict):
        error.data.update(data)
    for name in ("field", "status"):
        if hasattr(error, name):
            setattr(error, name, error.data.get(name))
    return error
