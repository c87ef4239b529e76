"""From the bytes of a request, or of a batch of them, to the bytes of the answer."""

import asyncio
import logging
from secrets import token_hex
from typing import Any, NoReturn

import msgspec
from msgspec import UNSET, Raw, Struct

from kaiju_tasks.errors import (
    InternalError,
    InvalidParams,
    InvalidRequest,
    KaijuError,
    ParseError,
    TooLarge,
    TooManyRequests,
)
from kaiju_tasks.rpc.edge import (
    INTEGER_MAX,
    INTEGER_MIN,
    Limits,
    check_text,
    decode,
    nesting,
    number_out_of_range,
)
from kaiju_tasks.rpc.effort import measured
from kaiju_tasks.rpc.held import Holding
from kaiju_tasks.rpc.messages import Id, encode_error, encode_result
from kaiju_tasks.rpc.registry import Registry

__all__ = ["dispatch"]

logger = logging.getLogger(__name__)

# Well below the depth at which msgspec's own recursion ends, so that an item that is too deep fails
# alone and not with its batch.
_BATCH_DEPTH_MAX = 256


class _Envelope(Struct):
    jsonrpc: Any = None
    id: Any = UNSET
    method: Any = UNSET
    params: Raw = Raw(b"{}")


class _Refusal(Exception):
    """An invalid request; `id` is the id of the answer."""

    def __init__(self, reason: KaijuError | str, id: Id = None) -> None:
        super().__init__(str(reason))
        self.error = InvalidRequest(reason) if isinstance(reason, str) else reason
        self.id = id


class _Call(Struct, frozen=True):
    """A request; `fault` is the error in its params that is found before a method sees them."""

    id: Id
    method: str
    params: Any
    answered: bool
    fault: KaijuError | None


async def dispatch(registry: Registry, body: bytes, caller: Any, limits: Limits) -> bytes | None:
    """Answer a JSON-RPC 2.0 request or batch.

    Errors in the body or in a handler become error answers; only cancellations are raised.

    :param registry: the methods that can be called
    :param body: the request or batch as JSON text
    :param caller: passed to the handlers unchanged
    :param limits: limits on the body
    :returns: the answer; None if there is nothing to answer (notifications)
    """
    try:
        check_text(body, limits.max_body_bytes)
        items = _items(body, limits)
    except KaijuError as error:
        return encode_error(None, error)
    if items is None:
        room = _Room(limits.max_answer_bytes)
        return await _answer(registry, body, caller, limits, room)
    with registry.batches.holding(registry.client(caller)) as holding:
        room = _Room(limits.max_answer_bytes, holding)
        answers = await asyncio.gather(
            *(measured(_answer(registry, bytes(item), caller, limits, room)) for item in items),
            return_exceptions=True,
        )
        return _batch(answers)


def _batch(answers: list[bytes | BaseException | None]) -> bytes | None:
    """The answer to a batch."""
    sent = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        if answer is not None:
            sent.append(answer)
    return b"[%b]" % b",".join(sent) if sent else None


def _items(body: bytes, limits: Limits) -> list[Raw] | None:
    if body[:1] == b"{" or not body.lstrip(b" \t\r\n").startswith(b"["):
        return None
    if nesting(body) > _BATCH_DEPTH_MAX:
        raise TooLarge(
            f"arrays and objects must be nested at most {limits.max_depth} levels deep",
            limit=limits.max_depth,
        )
    try:
        items = msgspec.json.decode(body, type=list[Raw])
    except msgspec.DecodeError:
        decode(body, msgspec.structs.replace(limits, max_depth=_BATCH_DEPTH_MAX))
        raise ParseError("this is not JSON") from None
    if not items:
        raise InvalidRequest("a batch must contain at least one request; this batch is empty")
    if len(items) > limits.max_batch:
        raise TooLarge(
            f"a batch must contain at most {limits.max_batch} requests, not {len(items)}",
            limit=limits.max_batch,
        )
    return items


class _Room:
    """How much more the answer to a request or a batch may contain.

    :param holding: what answers to a batch occupy until it is complete
    :ivar full: whether an answer did not fit. Then nothing more is read for this batch.
    """

    def __init__(self, limit: int, holding: Holding | None = None) -> None:
        self._limit = self._left = limit
        self._holding = holding
        self.full = False

    def take(self, answer: bytes) -> bytes:
        """
        :raises TooLarge: this answer does not fit
        :raises TooManyRequests: too much is held for other batches of the client
        """
        if len(answer) > self._left:
            self.full = True
            self.refuse()
        if self._holding is not None:
            try:
                self._holding.grow(len(answer))
            except TooManyRequests:
                self.full = True
                raise
        self._left -= len(answer)
        return answer

    def refuse(self) -> NoReturn:
        """:raises TooLarge: always"""
        raise TooLarge(
            f"the answer to this call is left out, because all together would have more than "
            f"{self._limit} bytes: ask for less at once",
            limit=self._limit,
        )


async def _answer(
    registry: Registry, body: bytes, caller: Any, limits: Limits, room: _Room
) -> bytes | None:
    try:
        call = _read(body, limits)
    except _Refusal as refusal:
        return encode_error(refusal.id, refusal.error)
    failure: KaijuError
    try:
        return await _run(registry, call, body, caller, room)
    except KaijuError as error:
        failure = error
    except Exception as error:
        failure = _internal_error(call.method, error)
    return _encode_failure(call, failure) if call.answered else None


async def _run(
    registry: Registry, call: _Call, body: bytes, caller: Any, room: _Room
) -> bytes | None:
    method = registry.find_for(caller, call.method)
    if call.fault is not None:
        raise call.fault
    if isinstance(call.params, list):
        raise InvalidParams("params must be an object of named parameters")
    params = method.read(call.params, lambda: _envelope(body).params)
    if not method.reads:
        return _encoded(call, await registry.call(caller, method, params), room)
    async with registry.reading(caller, method):
        if room.full:
            room.refuse()
        return _encoded(call, await registry.call(caller, method, params), room)


def _encoded(call: _Call, result: Any, room: _Room) -> bytes | None:
    return room.take(encode_result(call.id, result)) if call.answered else None


def _encode_failure(call: _Call, error: KaijuError) -> bytes:
    try:
        return encode_error(call.id, error)
    except Exception as unencodable:
        return encode_error(call.id, _internal_error(call.method, unencodable))


def _internal_error(method: str, error: Exception) -> InternalError:
    incident = token_hex(8)
    logger.error("internal error in %s, incident %s", method, incident, exc_info=error)
    return InternalError("internal error", incident=incident)


def _read(body: bytes, limits: Limits) -> _Call:
    fault: KaijuError | None = None
    try:
        request = decode(body, limits)
    except ParseError as error:
        raise _Refusal(error) from None
    except (TooLarge, InvalidParams) as error:
        request, fault = _frame(body, error), _fault_in_params(error)
    if not isinstance(request, dict):
        raise _Refusal("a request must be an object")
    id_ = request.get("id")
    if not (id_ is None or type(id_) in (str, int, float)):
        raise _Refusal("`id` must be text, a number or null")
    if wrong := _wrong_member(request):
        raise _Refusal(wrong, id_)
    return _Call(id_, request["method"], request.get("params", {}), "id" in request, fault)


def _wrong_member(request: dict[str, Any]) -> str | None:
    if request.get("jsonrpc") != "2.0":
        return '`jsonrpc` must be the text "2.0"'
    if "method" not in request:
        return "`method` is required"
    if type(request["method"]) is not str:
        return "`method` must be text"
    if type(request.get("params", {})) not in (dict, list):
        return "`params` must be an object, or absent"
    return None


def _frame(body: bytes, error: KaijuError) -> dict[str, Any]:
    """Read a request without its params, which were refused."""
    try:
        frame = _envelope(body)
    except (msgspec.DecodeError, RecursionError):
        raise _Refusal(error if isinstance(error, TooLarge) else error.message) from None
    if type(frame.id) is int and not INTEGER_MIN <= frame.id <= INTEGER_MAX:
        raise _Refusal(error.message)
    members = {"jsonrpc": frame.jsonrpc, "id": frame.id, "method": frame.method}
    return {name: value for name, value in members.items() if value is not UNSET}


def _fault_in_params(error: KaijuError) -> KaijuError:
    if not isinstance(error, InvalidParams):
        return error
    return number_out_of_range((error.field or "").removeprefix("params.") or None)


def _envelope(body: bytes) -> _Envelope:
    return msgspec.json.decode(body, type=_Envelope)
