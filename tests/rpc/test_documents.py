"""What holds of every document in schemas/: nothing untyped, nothing that tools stumble over."""

import json
from fnmatch import fnmatchcase
from typing import Any

import jsonschema
import pytest

from kaiju_tasks import errors, schemas
from tests.rpc.documents import nodes, roots

# Values that are the users' own, or that depend on what they belong to.
OPEN = {
    "*.kws/additionalProperties": "template arguments are the users' own",
    "*.meta/additionalProperties": "the users' own",
    "ConnectParams.data/additionalProperties": "what templates read of an executor",
    "manager.connect(data)/additionalProperties": "what templates read of an executor",
    "CallParams.params/additionalProperties": "parameters of any method of tasks",
    "Declaration.task/additionalProperties": "a task, which is checked on its own",
    "manager.call(params)/additionalProperties": "parameters of any method of tasks",
    "manager.call result": "the result of any method of tasks",
    "Assignment.kws": "template arguments, as bytes",
    "Assignment.results/additionalProperties": "results of stages, as bytes",
    "SegmentCommand.params": "a template, as bytes",
    "SegmentCommand.condition": "a condition, as bytes",
    "TaskCommand.params/*/additionalProperties": "parameters of any method",
    "*ondition*/anyOf/?/additionalProperties": "its keys are paths, and it holds itself",
    "*ondition*/anyOf/?/items": "it holds itself",
    "*.result/items": "results of stages",
    "StageRecord.result": "the result of a stage",
    "Report.result": "the result of a stage",
    "tasks.*message(data)": "the result of a stage",
    "InboxEntry.data": "the data of a message",
    "BulkCall.*/additionalProperties": "conditions and parameters of any bulk call",
    "tasks.validate(data)/additionalProperties": "whatever is to be validated",
    "TaskError.data": "depends on the type of the error",
    "ReportError.data": "depends on the type of the error",
    "WhyNot.data/additionalProperties": "depends on the code, see docs/explain.md",
    "AuditRecord.data/additionalProperties": "depends on the action",
    "Command*.params/additionalProperties": "a JSON Schema, which holds itself",
    "Command*.result/additionalProperties": "a JSON Schema, which holds itself",
    "Command*.examples/items/additionalProperties": "parameters and result of any method",
    "Log*Line.fields/anyOf/0/additionalProperties": "whatever a command has logged",
    "OpenRpcDocument.*": "an OpenRPC document holds itself",
}


@pytest.fixture(params=list(schemas.DOCUMENTS))
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(schemas.render(request.param))


@pytest.fixture
def openrpc() -> dict[str, Any]:
    return json.loads(schemas.render("openrpc.json"))


def allowed(path: str) -> list[str]:
    return [pattern for pattern in OPEN if fnmatchcase(path, pattern)]


def test_nothing_is_untyped_but_what_is_open_for_a_reason(document: dict[str, Any]) -> None:
    untyped = [node for node in nodes(document) if node.untyped]
    assert [node.path for node in untyped if not allowed(node.path)] == []
    assert [node.path for node in untyped if "any JSON value" not in str(node.schema)] == []


def test_every_reason_to_be_open_is_needed() -> None:
    used = {
        pattern
        for name in schemas.DOCUMENTS
        for node in nodes(json.loads(schemas.render(name)))
        if node.untyped
        for pattern in allowed(node.path)
    }
    assert set(OPEN) - used == set()


def test_every_list_says_its_items(document: dict[str, Any]) -> None:
    lists = [node for node in nodes(document) if "array" in str(node.schema.get("type"))]
    assert [node.path for node in lists if "items" not in node.schema] == []


def test_every_object_says_what_it_holds(document: dict[str, Any]) -> None:
    objects = [node for node in nodes(document) if "object" in str(node.schema.get("type"))]
    said = {"properties", "additionalProperties"}
    assert [node.path for node in objects if not said & set(node.schema)] == []


def test_every_reference_leads_somewhere_and_stands_alone(document: dict[str, Any]) -> None:
    prefix = "#/components/schemas/" if "openrpc" in document else "#/definitions/"
    named = (document.get("components", {}).get("schemas")) or document["definitions"]
    for node in nodes(document):
        if "$ref" in node.schema:
            assert set(node.schema) == {"$ref"}, node.path
            assert node.schema["$ref"].removeprefix(prefix) in named, node.path


def test_every_named_type_is_used_and_explained(document: dict[str, Any]) -> None:
    named = (document.get("components", {}).get("schemas")) or document["definitions"]
    text = json.dumps(document)
    for name, schema in named.items():
        assert f'/{name}"' in text, name
        assert schema.get("description"), name


def test_no_type_holds_itself(document: dict[str, Any]) -> None:
    named = (document.get("components", {}).get("schemas")) or document["definitions"]
    held = {
        name: {
            node.schema["$ref"].rpartition("/")[2]
            for node in nodes({"definitions": {name: schema}})
            if "$ref" in node.schema
        }
        for name, schema in named.items()
    }
    while leaves := {name for name, inner in held.items() if not inner & set(held)}:
        held = {name: inner for name, inner in held.items() if name not in leaves}
    assert held == {}


def test_every_schema_is_draft_7(document: dict[str, Any]) -> None:
    for node in roots(document):
        jsonschema.Draft7Validator.check_schema(node.schema)


def test_defaults_fit_their_schemas(document: dict[str, Any]) -> None:
    for node in nodes(document):
        if "default" in node.schema:
            outer = {**node.schema, "components": document.get("components", {})}
            outer["definitions"] = document.get("definitions", {})
            validator = jsonschema.Draft7Validator(outer)
            assert validator.is_valid(node.schema["default"]), node.path


def test_every_method_and_parameter_is_explained(openrpc: dict[str, Any]) -> None:
    for method in openrpc["methods"]:
        assert method["summary"].endswith("."), method["name"]
        assert [p["name"] for p in method["params"] if not p.get("description")] == []


def test_every_method_says_its_errors(openrpc: dict[str, Any]) -> None:
    codes = {kind.code for kind in vars(errors).values() if hasattr(kind, "code")}
    for method in openrpc["methods"]:
        said = [error["code"] for error in method["errors"]]
        assert said[0] == errors.InvalidParams.code
        assert set(said) <= codes
        assert all(error["message"] for error in method["errors"])


def test_the_committed_document_names_the_default_address(openrpc: dict[str, Any]) -> None:
    assert openrpc["servers"] == [{"name": "kaiju_tasks", "url": "http://127.0.0.1:8077/rpc"}]
