import json
from enum import Enum
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from msgspec import Struct

from kaiju_tasks import protocol, schemas
from kaiju_tasks.types import NewTask, TaskCommand

COMMITTED = ["openrpc.json", "task.schema.json", "executor-protocol.schema.json"]


@pytest.fixture(scope="module")
def task_schema() -> dict[str, Any]:
    return json.loads(schemas.render("task.schema.json"))


@pytest.fixture(scope="module")
def protocol_schema() -> dict[str, Any]:
    return json.loads(schemas.render("executor-protocol.schema.json"))


def test_the_committed_schemas_say_what_the_types_say() -> None:
    assert schemas.stale(COMMITTED) == [], "run: python -m kaiju_tasks.schemas --write"


def test_a_changed_or_missing_schema_is_stale_until_written(tmp_path: Path) -> None:
    assert schemas.stale(COMMITTED, tmp_path) == COMMITTED
    schemas.write(COMMITTED, tmp_path)
    assert schemas.stale(COMMITTED, tmp_path) == []
    (tmp_path / COMMITTED[0]).write_text("{}")
    assert schemas.stale(COMMITTED, tmp_path) == [COMMITTED[0]]


def test_schemas_are_draft_7(task_schema: Any, protocol_schema: Any) -> None:
    for schema in (task_schema, protocol_schema):
        assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
        jsonschema.Draft7Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("task", "valid"),
    [
        ({"commands": [{"method": "do.echo"}]}, True),
        ({"commands": [{"method": "do.echo", "name": "a", "max_timeout": 5}]}, True),
        ({"commands": []}, False),
        ({}, False),
        ({"commands": [{"method": "a"}], "status": "IDLE"}, False),
        ({"commands": [{"method": "a"}], "max_retries": 11}, False),
        ({"commands": [{"method": "a", "params": []}]}, False),
    ],
)
def test_the_task_schema_takes_what_the_type_takes(
    task_schema: Any, task: Any, valid: bool
) -> None:
    assert jsonschema.Draft7Validator(task_schema).is_valid(task) is valid
    if valid:
        msgspec.convert(task, NewTask)
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(task, NewTask)


def test_a_task_as_it_is_written_fits_its_schema(task_schema: Any) -> None:
    task = NewTask(commands=[TaskCommand("a", {"x": 1})], cron="@daily")
    jsonschema.validate(json.loads(msgspec.json.encode(task)), task_schema)


def test_every_type_of_the_protocol_is_defined(protocol_schema: Any) -> None:
    types = {
        name
        for name in protocol.__all__
        if isinstance(kind := getattr(protocol, name), type) and issubclass(kind, Struct | Enum)
    }
    assert set(protocol_schema["definitions"]) == types


def test_every_method_of_the_protocol_says_its_types(protocol_schema: Any) -> None:
    methods = protocol_schema["methods"]
    assert methods["manager.connect"]["params"] == {"$ref": "#/definitions/ConnectParams"}
    assert methods["manager.connect"]["result"] == {"$ref": "#/definitions/ConnectResult"}
    assert "result" not in methods["executor.run"]
    for name, method in methods.items():
        assert name in (protocol.__doc__ or "")
        assert method["params"]["$ref"].split("/")[-1] in protocol_schema["definitions"]


def test_a_report_fits_the_protocol_schema(protocol_schema: Any) -> None:
    report = protocol.Report(
        id="a", job_id="b", epoch=1, nonce="c", stage=0, state=protocol.ReportState.FINISHED
    )
    params = json.loads(msgspec.json.encode(protocol.WriteStageParams([report])))
    schema = {"$ref": "#/definitions/WriteStageParams", **protocol_schema}
    jsonschema.validate(params, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"reports": [{"id": 1}]}, schema)


def test_the_command_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas.main(["--wirte"]) == 2
    assert "usage" in capsys.readouterr().err
