import json
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from msgspec import UNSET, Meta, Raw, Struct, defstruct

from kaiju_tasks.described import DescribedAs
from kaiju_tasks.errors import Conflict, InvalidParams, NotFound, TemplateError
from kaiju_tasks.rights import EVERYTHING
from kaiju_tasks.rights.access import SIGNED_IN
from kaiju_tasks.rpc import Limits, Registry, add_discover, dispatch, openrpc_document
from kaiju_tasks.rpc.draft7 import components
from kaiju_tasks.types import NewTask, Task


class Create(Struct, forbid_unknown_fields=True):
    """Parameters.

    :param data: the task,
        whole
    """

    on_conflict: Annotated[str, Meta(max_length=10)] = "error"
    pair: tuple[int, str] | None = None
    data: NewTask = None  # type: ignore[assignment]


class Get(Struct, forbid_unknown_fields=True):
    id: str
    stage: int = 0


class Circle(Struct):
    inner: "list[Circle]" = []


class Carrier(Struct):
    data: Raw = Raw(b"{}")
    inner: list["RawDefault"] = []


class RawDefault(Struct):
    value: Raw = Raw(b"null")
    count: int = 3


async def handler(caller: Any, params: Any) -> None:
    """Get one task.

    More of it.

    :param id: the task's
    """


def registry() -> Registry:
    made = Registry(lambda caller: EVERYTHING)
    made.add(
        "tasks.create", handler, params=Create, result=Task, errors=[Conflict], access=SIGNED_IN
    )
    made.add(
        "tasks.get",
        handler,
        params=Get,
        result=Task,
        errors=[NotFound, TemplateError],
        access=SIGNED_IN,
    )
    made.add(
        "carry", handler, params=Carrier, result=list[Carrier], tolerant=True, access=SIGNED_IN
    )
    add_discover(made, "test", "1.2", lambda caller: caller or "http://here/rpc", SIGNED_IN)
    return made


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openrpc_document(registry(), "test", "1.2", "http://here/rpc")


def method(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [method for method in document["methods"] if method["name"] == name]
    return found


def keywords(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {word for item in schema for word in keywords(item)}
    if not isinstance(schema, dict):
        return set()
    return set(schema) | {word for item in schema.values() for word in keywords(item)}


def test_the_document_names_version_and_all_methods(document: dict[str, Any]) -> None:
    assert document["openrpc"] == "1.3.2"
    assert document["info"] == {"title": "test", "version": "1.2"}
    assert document["servers"] == [{"name": "test", "url": "http://here/rpc"}]
    assert [method["name"] for method in document["methods"]] == [
        "tasks.create",
        "tasks.get",
        "carry",
        "rpc.discover",
    ]


def test_params_are_by_name_with_the_required_ones_first(document: dict[str, Any]) -> None:
    get = method(document, "tasks.get")
    assert get["paramStructure"] == "by-name"
    assert [(param["name"], param["required"]) for param in get["params"]] == [
        ("id", True),
        ("stage", False),
    ]
    assert get["params"][1]["schema"] == {"type": "integer", "default": 0}


def test_docstrings_become_summary_description_and_descriptions(document: dict[str, Any]) -> None:
    get = method(document, "tasks.get")
    assert get["summary"] == "Get one task."
    assert get["description"] == "More of it."
    assert get["params"][0]["description"] == "the task's"
    create = {param["name"]: param for param in method(document, "tasks.create")["params"]}
    assert create["data"]["description"] == "the task, whole"


def test_errors_have_each_code_once(document: dict[str, Any]) -> None:
    assert [error["code"] for error in method(document, "tasks.create")["errors"]] == [-32602, 409]
    (invalid, missing) = method(document, "tasks.get")["errors"]
    assert (invalid["code"], missing["code"]) == (-32602, 404)
    assert invalid["message"] == InvalidParams.__doc__.splitlines()[0]  # type: ignore[union-attr]


def test_every_reference_leads_to_a_component(document: dict[str, Any]) -> None:
    named = document["components"]["schemas"]
    assert {"NewTask", "TaskCommand", "Task", "TaskStatus", "Carrier"} <= set(named)
    assert "Get" not in named
    text = json.dumps(document)
    for part in text.split('"$ref": "#/components/schemas/')[1:]:
        assert part.split('"')[0] in named
    assert text.count('"$ref"') == text.count('"$ref": "#/components/schemas/')


def test_schemas_are_draft_7(document: dict[str, Any]) -> None:
    schemas = [*document["components"]["schemas"].values()]
    for described in document["methods"]:
        schemas += [param["schema"] for param in described["params"]]
        schemas.append(described["result"]["schema"])
    for schema in schemas:
        jsonschema.Draft7Validator.check_schema(schema)
    assert not keywords(schemas) & {"$defs", "prefixItems", "unevaluatedProperties", "$anchor"}


def test_a_tuple_is_checked_by_position_in_draft_7() -> None:
    (schema,), _ = components([tuple[int, str]], "#/definitions/")
    validator = jsonschema.Draft7Validator(schema)
    assert validator.is_valid([1, "a"])
    assert not validator.is_valid(["a", 1])
    assert not validator.is_valid([1, "a", 2])


def test_a_reference_stands_alone(document: dict[str, Any]) -> None:
    def check(schema: Any) -> None:
        if isinstance(schema, dict):
            assert "$ref" not in schema or len(schema) == 1
            for item in schema.values():
                check(item)
        elif isinstance(schema, list):
            for item in schema:
                check(item)

    check(document)


def test_carried_bytes_are_any_json_value_with_their_default() -> None:
    _, named = components([Carrier], "#/definitions/")
    anything = {"description": "any JSON value"}
    assert named["Carrier"]["properties"]["data"] == {"default": {}, **anything}
    assert named["RawDefault"]["properties"] == {
        "value": {"default": None, **anything},
        "count": {"type": "integer", "default": 3},
    }


def test_a_type_that_holds_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="must not contain themselves: Circle"):
        components([list[Circle]], "#/definitions/")


class Base(Struct):
    """Base.

    :param a: the base's
    :param b: the base's
    """

    a: int
    b: int


class Derived(Base):
    """:param b: its own"""

    c: Annotated[Any, DescribedAs(list[int] | None)]


def test_fields_of_a_base_keep_what_is_said_of_them() -> None:
    _, named = components([Derived], "#/definitions/")
    properties = named["Derived"]["properties"]
    assert "description" not in named["Derived"]
    assert properties["a"] == {"type": "integer", "description": "the base's"}
    assert properties["b"] == {"type": "integer", "description": "its own"}


def test_a_name_with_a_dot_is_described_by_a_pattern() -> None:
    fields: list[Any] = [("a", int), ("error_type", str | None, UNSET)]
    dotted = defstruct("Dotted", fields, rename={"error_type": "error.type"})
    schema = components([dotted], "#/definitions/")[1]["Dotted"]
    assert schema["properties"].keys() == {"a"}
    assert schema["patternProperties"].keys() == {"^error\\.type$"}


def test_a_field_is_described_as_another_type() -> None:
    _, named = components([Derived], "#/definitions/")
    numbers = {"type": "array", "items": {"type": "integer"}}
    assert named["Derived"]["properties"]["c"] == {"anyOf": [numbers, {"type": "null"}]}


@pytest.mark.parametrize(
    ("type_", "schema"),
    [
        (list[Any], {"type": "array", "items": {"description": "any JSON value"}}),
        (
            dict[str, Any],
            {"type": "object", "additionalProperties": {"description": "any JSON value"}},
        ),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
    ],
)
def test_open_lists_objects_and_choices_say_their_type(type_: Any, schema: Any) -> None:
    assert components([type_], "#/")[0] == [schema]


async def test_discover_gives_the_document(document: dict[str, Any]) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}'
    answer = await dispatch(registry(), body, None, Limits())
    assert answer is not None
    assert json.loads(answer)["result"] == json.loads(json.dumps(document))
    named = await dispatch(registry(), body, "https://there/base/rpc", Limits())
    assert named is not None
    (server,) = json.loads(named)["result"]["servers"]
    assert server["url"] == "https://there/base/rpc"
