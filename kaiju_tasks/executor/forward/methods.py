"""Reads which methods a service has: an OpenRPC document, or a list. Pure but for `read_file`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.registry import refuse_name
from kaiju_tasks.protocol import CommandInfo

__all__ = ["MethodsError", "read_document", "read_file"]

METHODS_MAX = 1000
DOC_CHARACTERS = 2000
SCHEMA_BYTES_MAX = 64 * 1024
"""A larger schema is left out: the method then takes any parameters."""
DOCUMENT_BYTES_MAX = 4 * 1024 * 1024

Json = dict[str, Any]


class MethodsError(Exception):
    """A document does not describe methods. The message says what is wrong with it."""


def read_file(path: Path) -> list[CommandInfo]:
    """Read the methods from a JSON or YAML file.

    :raises InvalidParams: the file cannot be read, or does not describe methods
    """
    try:
        with path.open("rb") as file:
            content = file.read(DOCUMENT_BYTES_MAX + 1)
        if len(content) > DOCUMENT_BYTES_MAX:
            raise MethodsError(f"it has more than {DOCUMENT_BYTES_MAX:,} bytes")
        return read_document(_parsed(content.decode("utf-8-sig")))
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or type(error).__name__}"
    except (MethodsError, ValueError) as error:
        problem = str(error)
    raise InvalidParams(f"the methods in {path}: {problem}", field="methods")


def read_document(document: Any) -> list[CommandInfo]:
    """Read the methods of a service.

    :param document: an OpenRPC document, or a list whose items are names, or objects with `method`,
        `params` (JSON Schema) and `doc`; a JSON value
    :returns: at most 1000 methods
    :raises MethodsError: it is neither, or has no methods
    """
    components: Json = {}
    methods = document
    if isinstance(document, dict):
        methods = document.get("methods")
        components = _object(document.get("components"))
    if not isinstance(methods, list):
        raise MethodsError("it is neither an OpenRPC document nor a list of methods")
    if len(methods) > METHODS_MAX:
        raise MethodsError(f"it has {len(methods):,} methods; at most {METHODS_MAX:,} are allowed")
    found: dict[str, CommandInfo] = {}
    for number, method in enumerate(methods):
        info = _method(method, components, number)
        if info.method in found:
            raise MethodsError(f"it has the method `{info.method}` twice")
        if not info.method.startswith("rpc."):
            found[info.method] = info
    if not found:
        raise MethodsError("it has no methods")
    return list(found.values())


def _method(method: Any, components: Json, number: int) -> CommandInfo:
    if isinstance(method, str):
        method = {"method": method}
    if not isinstance(method, dict):
        raise MethodsError(f"its method {number} is neither a name nor an object")
    name = method.get("method", method.get("name"))
    try:
        if not isinstance(name, str):
            raise ValueError("it has no name")
        refuse_name(name)
    except ValueError as error:
        raise MethodsError(f"its method {number} is not valid: {error}") from None
    doc = next((text for key in ("doc", "summary", "description") if (text := method.get(key))), "")
    params = method.get("params")
    try:
        schema = _params(params, components) if isinstance(params, list) else _object(params)
        if len(msgspec.json.encode(schema)) > SCHEMA_BYTES_MAX:
            schema = {}
    except RecursionError:
        schema = {}
    return CommandInfo(name, schema, str(doc)[:DOC_CHARACTERS])


def _params(params: list[Any], components: Json) -> Json:
    """The schema of the parameters of an OpenRPC method, which are passed by name."""
    descriptors = [_descriptor(param, components) for param in params]
    properties = {
        param["name"]: _object(param.get("schema"))
        for param in descriptors
        if isinstance(param.get("name"), str)
    }
    if len(properties) < len(params):
        return {}
    required = [param["name"] for param in descriptors if param.get("required") is True]
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    schemas = _object(components.get("schemas"))
    used: Json = {}
    waiting = list(_references(schema))
    while waiting:
        if (name := waiting.pop()) not in used and name in schemas:
            used[name] = schemas[name]
            waiting += _references(schemas[name])
    schema = _moved(schema)
    if used:
        schema["$defs"] = {name: _moved(one) for name, one in used.items()}
    return schema


SCHEMAS, DESCRIPTORS = "#/components/schemas/", "#/components/contentDescriptors/"


def _descriptor(param: Any, components: Json) -> Json:
    reference = _object(param).get("$ref")
    if isinstance(reference, str) and reference.startswith(DESCRIPTORS):
        descriptors = _object(components.get("contentDescriptors"))
        return _object(descriptors.get(reference.removeprefix(DESCRIPTORS)))
    return _object(param)


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": str(reference)} if reference.startswith(SCHEMAS):
            yield reference.removeprefix(SCHEMAS)
        case dict():
            for item in value.values():
                yield from _references(item)
        case list():
            for item in value:
                yield from _references(item)


def _moved(value: Any) -> Any:
    """A schema whose references lead to `$defs`."""
    match value:
        case {"$ref": str(reference)} if reference.startswith(SCHEMAS):
            return value | {"$ref": f"#/$defs/{reference.removeprefix(SCHEMAS)}"}
        case dict():
            return {key: _moved(item) for key, item in value.items()}
        case list():
            return [_moved(item) for item in value]
        case _:
            return value


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        import yaml

        try:
            return json.loads(json.dumps(yaml.safe_load(text), allow_nan=False))
        except (yaml.YAMLError, TypeError) as error:
            problem = " ".join(str(error).split())
            raise MethodsError(f"it is neither JSON nor YAML: {problem}") from None
