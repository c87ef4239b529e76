import json
from typing import Any

import pytest

from kaiju_tasks.errors import Conflict, InvalidParams, InvalidRequest, KaijuError, NotFound
from kaiju_tasks.rpc import (
    Limits,
    Response,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    read_response,
)

LIMITS = Limits()


def answer(body: bytes) -> Response:
    response = read_response(body, LIMITS)
    assert response is not None
    return response


def test_a_request_and_a_notification_are_json_rpc() -> None:
    assert json.loads(encode_request("7", "manager.ping", {"id": "x"})) == {
        "jsonrpc": "2.0",
        "id": "7",
        "method": "manager.ping",
        "params": {"id": "x"},
    }
    assert json.loads(encode_notification('a"b', {})) == {
        "jsonrpc": "2.0",
        "method": 'a"b',
        "params": {},
    }


def test_calls_are_told_from_answers() -> None:
    assert read_response(encode_request(1, "a", {}), LIMITS) is None
    assert read_response(encode_notification("a", {}), LIMITS) is None
    assert read_response(b"[]", LIMITS) is None
    assert bytes(answer(encode_result(1, None)).result) == b"null"


def test_a_result_stays_bytes() -> None:
    response = answer(b'{"jsonrpc":"2.0","id":"1","result": {"a" : 1.50}}')
    assert response.id == "1"
    assert response.error is None
    assert bytes(response.result) == b'{"a" : 1.50}'


@pytest.mark.parametrize(
    "error",
    [
        NotFound("there is no task `x`"),
        Conflict("it runs", status="EXECUTED"),
        InvalidParams("`a` is required", field="a"),
    ],
)
def test_an_error_comes_back_as_its_class(error: KaijuError) -> None:
    back = answer(encode_error(5, error)).error
    assert type(back) is type(error)
    assert back.message == error.message
    assert back.data == error.data
    assert getattr(back, "status", None) == getattr(error, "status", None)
    assert getattr(back, "field", None) == getattr(error, "field", None)


def test_an_error_of_an_unknown_code_keeps_it() -> None:
    back = answer(b'{"jsonrpc":"2.0","id":1,"error":{"code":-32050,"message":"m"}}').error
    assert type(back) is KaijuError
    assert back.data["code"] == -32050


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":1}',
        b'{"id":1,"result":1,"error":{"code":1,"message":"m"}}',
        b'{"id":1,"error":null}',
        b'{"id":1,"error":5}',
        b'{"id":[],"result":1}',
    ],
)
def test_what_is_neither_call_nor_answer_is_refused(body: Any) -> None:
    with pytest.raises(InvalidRequest):
        read_response(body, LIMITS)
