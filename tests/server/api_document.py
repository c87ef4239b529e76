"""The list of methods in docs/api.md: `python -m tests.server.api_document` writes it."""

import json
from pathlib import Path
from typing import Any

from kaiju_tasks.api.document import api_document

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
BEGIN = "<!-- methods: generated, see tests/server/api_document.py -->"
END = "<!-- /methods -->"
CHOICES_SHOWN = 10
"""More of them are in the OpenRPC document only."""
TYPES = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
}


def render() -> str:
    """Every method with its parameters, result and errors."""
    document = api_document()
    return "\n\n".join(_method(method) for method in document["methods"])


def committed() -> str:
    """What the page says."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    """Bring the page up to date."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{render()}\n\n{END}{rest.partition(END)[2]}")


def _method(method: dict[str, Any]) -> str:
    said = " ".join((method.get("summary", "") + " " + method.get("description", "")).split())
    lines = [f"#### `{method['name']}`", "", said, ""]
    if method["params"]:
        lines += ["| parameter | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [_param(param) for param in method["params"]]
        lines.append("")
    codes = ", ".join(str(error["code"]) for error in method["errors"])
    lines.append(f"Result: {_type(method['result']['schema'])}. Errors: {codes}.")
    return "\n".join(lines)


def _param(param: dict[str, Any]) -> str:
    schema = param["schema"]
    default = "required" if param["required"] else f"`{_json(schema.get('default'))}`"
    meaning = " ".join(str(param.get("description") or "").split()).replace("|", "\\|")
    return f"| `{param['name']}` | {_type(schema)} | {default} | {meaning} |"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "allOf" in schema:
        return _type(schema["allOf"][0])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(part) for part in schema["anyOf"]))
    if len(schema.get("enum", ())) > CHOICES_SHOWN:
        return "text"
    if "enum" in schema:
        return ", ".join(f"`{_json(value)}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "type" not in schema:
        return "any JSON"
    name = TYPES.get(schema["type"], str(schema["type"]))
    return name + _range(schema)


def _range(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if "maxLength" in schema:
        return f" of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    return ""


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    write()
