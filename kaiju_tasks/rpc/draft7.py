"""JSON Schema draft 7 of the project's types, for OpenRPC and the committed schemas.

msgspec writes draft 2020-12. The parts that differ in draft 7 are rewritten.
"""

import re
from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec

from kaiju_tasks.rpc.plain import ANY_JSON, Plain

__all__ = ["DRAFT_7", "components", "prose"]

DRAFT_7 = "http://json-schema.org/draft-07/schema#"

_TYPES = {str: "string", int: "integer", bool: "boolean", type(None): "null"}
_FIELD = re.compile(r"^:param (\w+):[ \t]*(.*(?:\n[ \t]+.*)*)", re.MULTILINE)


def components(types: Iterable[Any], ref_prefix: str) -> tuple[list[Any], dict[str, Any]]:
    """Return the schemas of types, and of the types that they contain.

    :param types: any types that msgspec decodes
    :param ref_prefix: path of the named types in the document, for example `#/definitions/`
    :returns: a schema for each type, and the schemas of named types by name
    :raises ValueError: a named type contains itself; common tools do not terminate on such a type
    """
    plain = Plain()
    schemas, named = msgspec.json.schema_components(
        [plain.of(type_) for type_ in types], ref_template=ref_prefix + "{name}"
    )
    named = {name: _described(_dotted(_draft7(schema))) for name, schema in sorted(named.items())}
    _refuse_recursion(named, ref_prefix)
    return [_draft7(schema) for schema in schemas], named


def prose(doc: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into its text and the descriptions of its parameters."""
    doc = cleandoc(doc)
    fields = {name: " ".join(text.split()) for name, text in _FIELD.findall(doc)}
    text = re.split(r"^:", doc, maxsplit=1, flags=re.MULTILINE)[0]
    return text.strip(), fields


def _draft7(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_draft7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {
        key: held if key in ("default", "enum", "const", "examples") else _draft7(held)
        for key, held in schema.items()
    }
    if schema.get("type") == "object" and not {"properties", "additionalProperties"} & set(schema):
        schema["additionalProperties"] = {"description": ANY_JSON}
    if "enum" in schema and "type" not in schema:
        schema["type"] = _type_of(schema["enum"])
    if schema.get("type") == "array" and not {"items", "prefixItems"} & set(schema):
        schema["items"] = {"description": ANY_JSON}
    if isinstance(schema.get("prefixItems"), list):
        rest = schema.pop("items", True)
        schema["items"] = schema.pop("prefixItems")
        schema["additionalItems"] = rest
    if isinstance(schema.get("$ref"), str) and len(schema) > 1:
        schema["allOf"] = [{"$ref": schema.pop("$ref")}]
    return schema


def _dotted(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe properties with a dot in their name by patterns: generated code could not name
    them."""
    properties = schema.get("properties", {})
    if dotted := [name for name in properties if "." in name]:
        patterns = {f"^{_pattern(name)}$": properties.pop(name) for name in dotted}
        schema["patternProperties"] = patterns
    return schema


def _pattern(name: str) -> str:
    """The pattern of a name in which `*` is any text."""
    return ".+".join(map(re.escape, name.split("*")))


def _type_of(values: list[Any]) -> str | list[str]:
    types = sorted({_TYPES[type(value)] for value in values})
    return types[0] if len(types) == 1 else types


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    text, fields = prose(schema.pop("description", ""))
    if text:
        schema["description"] = text
    for name, text in fields.items():
        if name in schema.get("properties", {}):
            schema["properties"][name] = _with_description(schema["properties"][name], text)
    return schema


def _with_description(schema: dict[str, Any], text: str) -> dict[str, Any]:
    if "$ref" in schema:
        return {"allOf": [schema], "description": text}
    if schema.get("description") == ANY_JSON:
        text = f"{text.rstrip('.')}: {ANY_JSON}"
    return {**schema, "description": text}


def _refuse_recursion(named: dict[str, Any], ref_prefix: str) -> None:
    uses = {
        name: {ref.removeprefix(ref_prefix) for ref in _references(schema)}
        for name, schema in named.items()
    }
    while leaves := {name for name, used in uses.items() if not used}:
        uses = {name: used - leaves for name, used in uses.items() if name not in leaves}
    if uses:
        raise ValueError(f"types must not contain themselves: {', '.join(sorted(uses))}")


def _references(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {ref for item in schema for ref in _references(item)}
    if not isinstance(schema, dict):
        return set()
    inner = {ref for held in schema.values() for ref in _references(held)}
    ref = schema.get("$ref")
    return inner | {ref} if isinstance(ref, str) else inner
