"""The OpenRPC 1.3.2 document, generated from the types of the methods."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from msgspec import Struct

from kaiju_tasks.errors import InvalidParams, KaijuError
from kaiju_tasks.rights import Access
from kaiju_tasks.rpc.draft7 import components, prose
from kaiju_tasks.rpc.registry import Method, NoParams, Registry

__all__ = ["OPENRPC_VERSION", "add_discover", "document_for", "openrpc_document", "servers"]

OPENRPC_VERSION = "1.3.2"

_REF_PREFIX = "#/components/schemas/"


class OpenRpcDocument(Struct):
    """An OpenRPC document.

    :param openrpc: version of OpenRPC
    :param info: title and version of the service
    :param servers: URLs of the service
    :param methods: the methods with their parameters, results and errors
    :param components: the schemas that methods refer to
    """

    openrpc: str
    info: dict[str, str]
    servers: list[dict[str, Any]]
    methods: list[dict[str, Any]]
    components: dict[str, Any]


def openrpc_document(registry: Registry, title: str, version: str, url: str) -> dict[str, Any]:
    """Describe the methods of a registry.

    :param title: name of the service
    :param version: version of the service
    :param url: URL of the service
    :returns: an OpenRPC 1.3.2 document with schemas in JSON Schema draft 7
    :raises ValueError: a type contains itself
    """
    methods = list(registry)
    types = [type_ for method in methods for type_ in (method.params, method.result)]
    schemas, named = components(types, _REF_PREFIX)
    described = [
        _method(method, _resolved(params, named), result)
        for method, params, result in zip(methods, schemas[::2], schemas[1::2], strict=True)
    ]
    used = _used([method["params"] for method in described], named)
    used |= _used([method["result"] for method in described], named)
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {"title": title, "version": version},
        "servers": servers(title, url),
        "methods": described,
        "components": {"schemas": {name: named[name] for name in named if name in used}},
    }


def servers(title: str, url: str) -> list[dict[str, Any]]:
    """Return the `servers` of a document."""
    return [{"name": title, "url": url}]


def document_for(registry: Registry, document: dict[str, Any], caller: Any) -> dict[str, Any]:
    """Reduce a document to the methods that a caller may call. The schemas stay."""
    allowed = {method.name for method in registry if registry.allows(caller, method)}
    return {
        **document,
        "methods": [method for method in document["methods"] if method["name"] in allowed],
    }


def add_discover(
    registry: Registry, title: str, version: str, url_for: Callable[[Any], str], access: Access
) -> None:
    """Add `rpc.discover`, which returns the OpenRPC document of the methods that a caller may call.

    :param title: name of the service
    :param version: version of the service
    :param url_for: returns the URL at which a caller calls the service
    :param access: who may call it
    """

    @cache
    def document() -> dict[str, Any]:
        return openrpc_document(registry, title, version, "")

    async def discover(caller: Any, params: NoParams) -> dict[str, Any]:
        found = document_for(registry, document(), caller)
        return {**found, "servers": servers(title, url_for(caller))}

    registry.add(
        "rpc.discover",
        discover,
        access=access,
        result=OpenRpcDocument,
        doc="Return this OpenRPC document, which describes the methods that the caller may call.",
    )


def _method(method: Method, params: dict[str, Any], result: Any) -> dict[str, Any]:
    text, fields = prose(method.doc)
    summary, _, description = text.partition("\n")
    described: dict[str, Any] = {"name": method.name}
    if summary:
        described["summary"] = summary
    if description.strip():
        described["description"] = description.strip()
    return described | {
        "paramStructure": "by-name",
        "params": _params(params, fields),
        "result": {"name": "result", "schema": result},
        "errors": _errors(method),
    }


def _params(schema: dict[str, Any], descriptions: dict[str, str]) -> list[dict[str, Any]]:
    required = schema.get("required", [])
    params = []
    for name, property_ in schema["properties"].items():
        param = {"name": name, "required": name in required, "schema": property_}
        if description := descriptions.get(name) or property_.get("description"):
            param["description"] = description
        params.append(param)
    return sorted(params, key=lambda param: not param["required"])


def _errors(method: Method) -> list[dict[str, Any]]:
    kinds: list[type[KaijuError]] = [InvalidParams, *method.errors]
    by_code = {kind.code: kind for kind in reversed(kinds)}
    return [
        {"code": code, "message": prose(by_code[code].__doc__ or by_code[code].type)[0]}
        for code in sorted(by_code)
    ]


def _resolved(schema: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    resolved: dict[str, Any] = named[schema["$ref"].removeprefix(_REF_PREFIX)]
    return resolved


def _used(schemas: Iterable[Any], named: dict[str, Any]) -> set[str]:
    used: set[str] = set()
    left = list(schemas)
    while left:
        schema = left.pop()
        if isinstance(schema, list):
            left.extend(schema)
        elif isinstance(schema, dict):
            left.extend(schema.values())
            name = str(schema.get("$ref", "")).removeprefix(_REF_PREFIX)
            if name in named and name not in used:
                used.add(name)
                left.append(named[name])
    return used
