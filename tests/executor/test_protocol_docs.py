"""docs/protocol.md says what the types say."""

from typing import Any

import msgspec
import pytest

from kaiju_tasks import protocol
from kaiju_tasks.lifecycle.handlers.executors import MANAGERS_OWN
from kaiju_tasks.protocol import AckState, ReportState
from kaiju_tasks.types import ErrorType
from tests.docs import data
from tests.docs.blocks import read_blocks
from tests.support.processes import ROOT

PAGE = ROOT / "docs" / "protocol.md"
DOCS = PAGE.read_text()
PARAMS: dict[str, Any] = {
    "manager.connect": protocol.ConnectParams,
    "manager.ping": protocol.PingParams,
    "manager.write_stage": protocol.WriteStageParams,
    "manager.write_logs": protocol.WriteLogsParams,
    "manager.suspend_executor": protocol.SuspendExecutorParams,
    "manager.call": protocol.CallParams,
    "manager.declare": protocol.DeclareParams,
    "executor.run": protocol.RunParams,
    "executor.revoke": protocol.RevokeParams,
    "executor.drain": protocol.DrainParams,
    "executor.resume": protocol.ResumeParams,
}
RESULTS: dict[int, Any] = {
    1: protocol.ConnectResult,
    17: protocol.PingResult,
    18: protocol.WriteStageResult,
    19: protocol.WriteLogsResult,
    30: None,  # an error
    31: protocol.DeclareResult,
}


class Message(msgspec.Struct):
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw = msgspec.Raw(b"null")
    id: int | None = None


def examples() -> list[Message]:
    blocks = [block for block in read_blocks(PAGE) if block.language == "json"]
    values = [value for block in blocks for value in data.values_of(block.text)]
    return [msgspec.json.decode(msgspec.json.encode(value), type=Message) for value in values]


@pytest.mark.parametrize("message", examples(), ids=lambda m: m.method or f"answer {m.id}")
def test_an_example_is_a_message(message: Message):
    if message.method is not None:
        msgspec.json.decode(message.params, type=PARAMS[message.method])
    else:
        assert message.id is not None
        msgspec.json.decode(message.result, type=RESULTS[message.id])


def test_every_method_has_an_example():
    assert {message.method for message in examples()} - {None} == set(PARAMS)


@pytest.mark.parametrize("struct", PARAMS.values(), ids=lambda struct: struct.__name__)
def test_every_field_is_named(struct):
    for name in struct.__struct_fields__:
        assert f"`{name}`" in DOCS or f'"{name}"' in DOCS


def test_every_field_of_an_assignment_is_explained():
    for name in protocol.Assignment.__struct_fields__:
        assert f"`{name}`" in DOCS


@pytest.mark.parametrize("word", [*ReportState, *AckState])
def test_every_state_is_explained(word):
    assert f"| `{word}` |" in DOCS


def test_every_error_type_of_an_executor_is_explained():
    for kind in set(ErrorType) - MANAGERS_OWN:
        assert f"| `{kind}` |" in DOCS
