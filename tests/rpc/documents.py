"""Walks every schema of a document in schemas/."""

from collections.abc import Iterator
from typing import Any, NamedTuple

SAYS_NOTHING = {"description", "title", "default", "examples"}


class Node(NamedTuple):
    """A schema and where it stands: `Task.error/anyOf/1`."""

    path: str
    schema: dict[str, Any]

    @property
    def untyped(self) -> bool:
        return not set(self.schema) - SAYS_NOTHING


def roots(document: dict[str, Any]) -> Iterator[Node]:
    """The schemas that a document names."""
    if "openrpc" in document:
        for method in document["methods"]:
            for param in method["params"]:
                yield Node(f"{method['name']}({param['name']})", param["schema"])
            yield Node(f"{method['name']} result", method["result"]["schema"])
        yield from _named(document["components"]["schemas"])
        return
    for name, method in document.get("methods", {}).items():
        for part in {"params", "result"} & set(method):
            yield Node(f"{name} {part}", method[part])
    yield from _named(document["definitions"])
    if "properties" in document:
        outer = {key: value for key, value in document.items() if key != "definitions"}
        yield Node(document["title"], outer)


def nodes(document: dict[str, Any]) -> Iterator[Node]:
    """Every schema, those inside of others too."""
    left = list(roots(document))
    while left:
        node = left.pop()
        yield node
        left += _inner(node)


def _named(schemas: dict[str, Any]) -> Iterator[Node]:
    return (Node(name, schema) for name, schema in schemas.items())


def _inner(node: Node) -> Iterator[Node]:
    path, schema = node
    for name, inner in schema.get("properties", {}).items():
        yield Node(f"{path}.{name}", inner)
    for key in ("items", "additionalItems", "additionalProperties", "not"):
        inner = schema.get(key)
        if isinstance(inner, dict):
            yield Node(f"{path}/{key}", inner)
    for key in ("anyOf", "oneOf", "allOf", "items"):
        inner = schema.get(key)
        if isinstance(inner, list):
            yield from (Node(f"{path}/{key}/{i}", one) for i, one in enumerate(inner))
