import asyncio
import json
import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from kaiju_tasks.errors import Conflict, StaleLease
from kaiju_tasks.rights import EVERYTHING
from kaiju_tasks.rights.access import SIGNED_IN
from kaiju_tasks.rpc import Limits, Registry, dispatch

LIMITS = Limits()


class Subtract(Struct, forbid_unknown_fields=True):
    subtrahend: int
    minuend: int = 42


class Anything(Struct, forbid_unknown_fields=True):
    data: Any = None


class Carrier(Struct):
    data: Raw = Raw(b"null")


class Bad:
    """No JSON can be made of it."""


class Service:
    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.registry = Registry(lambda caller: EVERYTHING)
        self.registry.add("subtract", self.subtract, params=Subtract, access=SIGNED_IN)
        self.registry.add("echo", self.echo, params=Anything, access=SIGNED_IN)
        self.registry.add("carry", self.carry, params=Carrier, tolerant=True, access=SIGNED_IN)
        self.registry.add("whoami", self.whoami, access=SIGNED_IN)
        self.registry.add("conflict", self.conflict, access=SIGNED_IN)
        self.registry.add("stale", self.stale, access=SIGNED_IN)
        self.registry.add("crash", self.crash, access=SIGNED_IN)
        self.registry.add("unencodable", self.unencodable, access=SIGNED_IN)
        self.registry.add("bad_error", self.bad_error, access=SIGNED_IN)

    async def subtract(self, caller: Any, params: Subtract) -> int:
        return params.minuend - params.subtrahend

    async def echo(self, caller: Any, params: Anything) -> Any:
        self.heard.append(params.data)
        return params.data

    async def carry(self, caller: Any, params: Carrier) -> Raw:
        return params.data

    async def whoami(self, caller: Any, params: Any) -> Any:
        return caller

    async def conflict(self, caller: Any, params: Any) -> None:
        raise Conflict("the task is running", status="EXECUTED")

    async def stale(self, caller: Any, params: Any) -> None:
        raise StaleLease("the lease is over")

    async def crash(self, caller: Any, params: Any) -> None:
        raise RuntimeError("password=hunter2")

    async def unencodable(self, caller: Any, params: Any) -> Any:
        return Bad()

    async def bad_error(self, caller: Any, params: Any) -> None:
        raise Conflict("odd", thing=Bad())


@pytest.fixture
def service() -> Service:
    return Service()


async def call(service: Service, body: bytes | str, limits: Limits = LIMITS) -> Any:
    answer = await dispatch(
        service.registry, body.encode() if isinstance(body, str) else body, "me", limits
    )
    return None if answer is None else json.loads(answer)


def request(method: str, id: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


async def ask(service: Service, method: str, **params: Any) -> Any:
    return await call(service, json.dumps(request(method, **params)))


def codes(answers: list[Any]) -> list[tuple[Any, Any]]:
    return [(answer["id"], answer.get("error", {}).get("code")) for answer in answers]


async def test_named_params_as_in_the_specification(service: Service) -> None:
    for params in ('{"subtrahend": 23, "minuend": 42}', '{"minuend": 42, "subtrahend": 23}'):
        body = f'{{"jsonrpc": "2.0", "method": "subtract", "params": {params}, "id": 3}}'
        assert await call(service, body) == {"jsonrpc": "2.0", "result": 19, "id": 3}


@pytest.mark.parametrize(
    ("body", "id_", "code"),
    [
        ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', "1", -32601),
        ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', None, -32700),
        ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', None, -32600),
        (
            '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
            ' {"jsonrpc": "2.0", "method"]',
            None,
            -32700,
        ),
        ("[]", None, -32600),
    ],
)
async def test_errors_as_in_the_specification(
    service: Service, body: str, id_: Any, code: int
) -> None:
    answer = await call(service, body)
    assert answer["jsonrpc"] == "2.0"
    assert (answer["id"], answer["error"]["code"]) == (id_, code)
    assert "result" not in answer


async def test_invalid_batches_as_in_the_specification(service: Service) -> None:
    assert codes(await call(service, "[1]")) == [(None, -32600)]
    assert codes(await call(service, "[1,2,3]")) == [(None, -32600)] * 3


async def test_a_batch_as_in_the_specification(service: Service) -> None:
    body = """[
        {"jsonrpc": "2.0", "method": "echo", "params": {"data": 7}, "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23}, "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "whoami", "id": "9"}
    ]"""
    answers = await call(service, body)
    assert codes(answers) == [
        ("1", None),
        ("2", None),
        (None, -32600),
        ("5", -32601),
        ("9", None),
    ]
    assert [answer.get("result") for answer in answers] == [7, 19, None, None, "me"]


async def test_notifications_get_no_answer_even_when_they_fail(service: Service) -> None:
    for method, params in [
        ("echo", {"data": 1}),
        ("echo", {"date": 1}),
        ("echo", [1]),
        ("nope", {}),
        ("conflict", {}),
        ("crash", {}),
        ("unencodable", {}),
        ("echo", {"data": 2**64}),
    ]:
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params})
        assert await call(service, body) is None
        assert await call(service, f"[{body},{body}]") is None
    assert service.heard == [1, 1, 1]


@pytest.mark.parametrize("id_", ["1", "", 'a"\0\u20ac', 1, 0, -5, 2**53 + 1, 2**64 - 1, 1.5, None])
async def test_ids_come_back_with_their_type(service: Service, id_: Any) -> None:
    for method in ("echo", "nope", "conflict", "crash"):
        answer = await call(service, json.dumps(request(method, id_)))
        assert answer["id"] == id_
        assert type(answer["id"]) is type(id_)


@pytest.mark.parametrize(
    "id_", ["true", "[]", "{}", "[1]", "18446744073709551616", "-9223372036854775809", "1e400"]
)
async def test_other_ids_are_an_invalid_request_under_null(service: Service, id_: str) -> None:
    body = f'{{"jsonrpc":"2.0","method":"echo","id":{id_}}}'
    assert codes([await call(service, body)]) == [(None, -32600)]


@pytest.mark.parametrize(
    ("members", "id_"),
    [
        ({"jsonrpc": None}, 1),
        ({"jsonrpc": "1.0"}, 1),
        ({"jsonrpc": 2.0}, 1),
        ({"method": None}, 1),
        ({"method": ["echo"]}, 1),
        ({"params": None}, 1),
        ({"params": "x"}, 1),
        ({"params": 1}, 1),
    ],
)
async def test_malformed_envelopes_are_invalid_requests(
    service: Service, members: dict[str, Any], id_: Any
) -> None:
    answer = await call(service, json.dumps({**request("echo"), **members}))
    assert codes([answer]) == [(id_, -32600)]
    assert answer["error"]["data"]["type"] == "invalid_request"


@pytest.mark.parametrize("missing", ["jsonrpc", "method"])
async def test_a_missing_member_is_an_invalid_request(service: Service, missing: str) -> None:
    body = {name: value for name, value in request("echo").items() if name != missing}
    assert codes([await call(service, json.dumps(body))]) == [(1, -32600)]


@pytest.mark.parametrize("body", ["1", "null", '"x"', "true", " 5 "])
async def test_what_is_no_object_is_an_invalid_request(service: Service, body: str) -> None:
    assert codes([await call(service, body)]) == [(None, -32600)]


async def test_unknown_members_are_ignored_and_params_may_be_left_out(service: Service) -> None:
    body = '\n {"jsonrpc":"2.0","id":1,"method":"echo","auth":[1],"x":{}} '
    assert await call(service, body) == {"jsonrpc": "2.0", "result": None, "id": 1}


async def test_a_null_result_is_spelled_out(service: Service) -> None:
    answer = await dispatch(service.registry, json.dumps(request("echo")).encode(), None, LIMITS)
    assert answer == b'{"jsonrpc":"2.0","result":null,"id":1}'


async def test_array_params_are_refused(service: Service) -> None:
    body = '{"jsonrpc":"2.0","id":1,"method":"echo","params":[]}'
    answer = await call(service, body)
    assert answer["error"]["code"] == -32602
    assert "named parameters" in answer["error"]["message"]


async def test_wrong_params_are_named(service: Service) -> None:
    answer = await ask(service, "subtract", subtrahend="x")
    assert answer["error"] == {
        "code": -32602,
        "message": "`subtrahend` must be an integer, not text",
        "data": {"type": "invalid_params", "field": "subtrahend"},
    }


async def test_a_domain_error_carries_its_code_and_data(service: Service) -> None:
    assert (await ask(service, "conflict"))["error"] == {
        "code": 409,
        "message": "the task is running",
        "data": {"type": "conflict", "status": "EXECUTED"},
    }
    assert (await ask(service, "stale"))["error"]["data"] == {"type": "stale_lease"}


@pytest.mark.parametrize("method", ["crash", "unencodable", "bad_error"])
async def test_a_fault_of_ours_shows_an_incident_and_is_logged_once(
    service: Service, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await ask(service, method)
    error = answer["error"]
    assert (error["code"], error["message"]) == (-32603, "internal error")
    assert "hunter2" not in json.dumps(answer)
    (record,) = caplog.records
    assert error["data"]["incident"] in record.getMessage()
    assert method in record.getMessage()
    assert record.exc_info is not None


async def test_a_cancellation_passes(service: Service) -> None:
    started = asyncio.Event()

    async def hang(caller: Any, params: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    service.registry.add("hang", hang, access=SIGNED_IN)
    for body in (json.dumps(request("hang")), json.dumps([request("echo"), request("hang")])):
        started.clear()
        task = asyncio.create_task(call(service, body))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_items_of_a_batch_run_at_once_and_are_answered_in_order(
    service: Service,
) -> None:
    opened = asyncio.Event()

    async def wait(caller: Any, params: Any) -> str:
        await opened.wait()
        return "waited"

    async def open_(caller: Any, params: Any) -> str:
        opened.set()
        return "opened"

    service.registry.add("wait", wait, access=SIGNED_IN)
    service.registry.add("open", open_, access=SIGNED_IN)
    answers = await call(service, json.dumps([request("wait", 1), request("open", 2)]))
    assert [(answer["id"], answer["result"]) for answer in answers] == [
        (1, "waited"),
        (2, "opened"),
    ]


async def test_an_item_disturbs_no_other(service: Service) -> None:
    deep = '{"jsonrpc":"2.0","id":3,"method":"echo","params":{"data":%s}}' % ("[" * 99 + "]" * 99)
    items = [
        json.dumps(request("crash", 1)),
        json.dumps(request("echo", 2, data=2**64)),
        deep,
        '{"jsonrpc":"2.0","id":4,"method":"echo","params":{"data":1e400}}',
        "[]",
        json.dumps(request("echo", 6, data="fine")),
    ]
    answers = await call(service, f"[{','.join(items)}]")
    assert codes(answers) == [
        (1, -32603),
        (2, -32602),
        (3, 413),
        (4, -32602),
        (None, -32600),
        (6, None),
    ]
    assert answers[1]["error"]["data"]["field"] == "data"
    assert service.heard == ["fine"]


async def test_a_batch_holds_at_most_100(service: Service) -> None:
    item = json.dumps(request("whoami"))
    assert len(await call(service, f"[{','.join([item] * 100)}]")) == 100
    assert codes([await call(service, f"[{','.join([item] * 101)}]")]) == [(None, 413)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'"' + b"x" * 1_048_576 + b'"', 413),
        (b"[" * 100_000, 413),
        (b'{"id":' * 100_000, 413),
        (b'[{"jsonrpc":"2.0","id":1,"method":"echo","params":{"data":"\xff"}}]', -32700),
        (b'[{"jsonrpc":"2.0","id":1,"method":"echo","params":{"data":"\\ud800"}}]', -32700),
        (b"\xef\xbb\xbf[]", -32700),
        (b"", -32700),
        (b"[", -32700),
        (b"[NaN]", -32700),
        (b"[1]]", -32700),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_under_null(
    service: Service, body: bytes, code: int
) -> None:
    assert codes([await call(service, body)]) == [(None, code)]


async def test_bytes_are_carried_from_request_to_answer(service: Service) -> None:
    body = b'[{"jsonrpc":"2.0","id":1,"method":"carry","params":{"data": {"a" : 1.50}, "new": 1}}]'
    answer = await dispatch(service.registry, body, None, LIMITS)
    assert answer == b'[{"jsonrpc":"2.0","result":{"a" : 1.50},"id":1}]'


async def test_carried_bytes_are_checked_too(service: Service) -> None:
    for data in (str(2**64), "1e400"):
        body = f'{{"jsonrpc":"2.0","id":1,"method":"carry","params":{{"data":[{data}]}}}}'
        assert codes([await call(service, body)]) == [(1, -32602)]


SERVICE = Service()
parts = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["2.0", "echo", "crash", "carry", "conflict", "subtract"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["jsonrpc", "id", "method", "params", "data", "subtrahend"]), inner
        )
    ),
    max_leaves=12,
)
requests = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.sampled_from(["echo", "crash", "carry", "subtract"])},
    optional={
        "id": st.none() | st.integers() | st.text() | parts,
        "params": st.fixed_dictionaries({}, optional={"data": parts, "subtrahend": parts}) | parts,
    },
)
bodies = (
    st.binary()
    | st.text('[]{}":,\\ue+-.019ntfalsr ').map(str.encode)
    | (parts | requests | st.lists(requests | parts, max_size=4)).map(
        lambda value: json.dumps(value).encode()
    )
)


def assert_well_formed(answer: Any) -> None:
    assert answer["jsonrpc"] == "2.0"
    assert answer["id"] is None or type(answer["id"]) in (str, int, float)
    assert set(answer) in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
    if "error" in answer:
        assert set(answer["error"]) == {"code", "message", "data"}
        assert type(answer["error"]["code"]) is int
        assert answer["error"]["data"]["type"]


@given(bodies)
def test_any_bytes_get_a_well_formed_answer_or_none(body: bytes) -> None:
    logging.getLogger("kaiju_tasks.rpc.dispatch").disabled = True
    try:
        answer = asyncio.run(dispatch(SERVICE.registry, body, None, LIMITS))
    finally:
        logging.getLogger("kaiju_tasks.rpc.dispatch").disabled = False
    if answer is None:
        return
    decoded = msgspec.json.decode(answer)
    for item in decoded if isinstance(decoded, list) else [decoded]:
        assert_well_formed(item)


async def test_the_answers_to_a_batch_are_bounded_together(service: Service) -> None:
    limits = Limits(max_answer_bytes=1000)
    calls = [
        {"jsonrpc": "2.0", "id": id, "method": "echo", "params": {"data": "x" * size}}
        for id, size in enumerate([400, 2000, 400, 400, 10])
    ]
    answer = await dispatch(service.registry, msgspec.json.encode(calls), None, limits)
    assert answer is not None
    found = {one["id"]: one.get("error") for one in json.loads(answer)}
    assert {id for id, error in found.items() if error is None} == {0, 2, 4}
    for id in (1, 3):
        assert (found[id]["code"], found[id]["data"]["type"]) == (413, "too_large")
    assert len(service.heard) == 5


async def test_an_answer_that_is_too_large_alone_is_an_error(service: Service) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "echo", "params": {"data": "x" * 2000}}
    limits = Limits(max_answer_bytes=1000)
    answer = await dispatch(service.registry, msgspec.json.encode(call), None, limits)
    assert answer is not None
    assert json.loads(answer)["error"]["code"] == 413
