"""Templates: JSON values with texts that are filled from data."""

from collections.abc import Mapping
from typing import Any

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.nodes import Const, ListNode, Node, ObjectNode, TextNode, located
from kaiju_tasks.templates.parser import Compilation, is_plain, parse
from kaiju_tasks.templates.scope import Scope
from kaiju_tasks.templates.values import type_name

__all__ = ["MAX_VALUE_DEPTH", "RAW", "Template", "compile_node", "compile_template"]

MAX_VALUE_DEPTH = 64
RAW = "$raw"


class Template:
    """A compiled template; made by :func:`compile_template`.

    :ivar refs: the root keys that it may read; contains `*` if a path begins with a template
    :ivar constant: whether there is nothing to fill
    """

    __slots__ = ("_node", "_value", "constant", "refs")

    def __init__(self, value: Any, node: Node, refs: frozenset[str]) -> None:
        self._value = value
        self._node = node
        self.constant = isinstance(node, Const) and node.value is value
        self.refs = refs

    def fill(self, data: Mapping[str, Any]) -> Any:
        """Fill in the data.

        :param data: JSON values by root key
        :returns: a value that shares parts with the data and the template: do not change it
        :raises TemplateError: a value is missing (`path` names it), has the wrong type or is too
            large
        """
        if self.constant:
            return self._value
        return self._node.fill(Scope(data))

    def outline(self) -> dict[str, Any] | None:
        """The part that is known without data.

        :returns: the value of each key, `MISSING` for values that are filled; do not change it.
            None if the template is not an object
        """
        if isinstance(self._node, ObjectNode):
            return self._node.outline()
        value = self._node.value if isinstance(self._node, Const) else None
        return value if isinstance(value, dict) else None


def compile_template(value: Any, *, field: str = "params") -> Template:
    """Compile a JSON value whose texts are templates.

    :param value: any JSON value, nested at most 64 deep
    :param field: the path of the value, a prefix of the paths in errors
    :raises TemplateError: malformed; `field` and `position` give the place
    """
    compilation = Compilation()
    node = compile_node(value, field, compilation)
    return Template(value, node, frozenset(compilation.roots))


def compile_node(value: Any, field: str, compilation: Compilation, depth: int = 1) -> Node:
    """Compile a part of a template.

    :param compilation: receives the root keys that it reads
    :raises TemplateError: malformed
    """
    if depth > MAX_VALUE_DEPTH:
        raise TemplateError(f"{field}: nested deeper than {MAX_VALUE_DEPTH} levels.", field=field)
    if isinstance(value, str):
        return _compile_text(value, field, compilation)
    if isinstance(value, dict):
        return _compile_object(value, field, compilation, depth)
    if isinstance(value, list):
        return _compile_list(value, field, compilation, depth)
    if value is None or isinstance(value, (bool, int, float)):
        return Const(value)
    raise TemplateError(f"{field}: needs a JSON value, but got {type_name(value)}.", field=field)


def _compile_text(text: str, field: str, compilation: Compilation) -> Node:
    if is_plain(text):
        return Const(text)
    try:
        node = parse(text, compilation)
    except TemplateError as error:
        raise located(error, field) from None
    return node if isinstance(node, Const) else TextNode(node, field)


def _compile_object(
    value: dict[str, Any], field: str, compilation: Compilation, depth: int
) -> Node:
    if len(value) == 1 and RAW in value:
        return Const(value[RAW])
    base: dict[str, Any] = {}
    filled: list[tuple[str, Node]] = []
    changed = False
    for key, item in value.items():
        if not isinstance(key, str):
            raise TemplateError(f"{field}: keys must be text.", field=field)
        node = compile_node(item, f"{field}.{key}", compilation, depth + 1)
        if isinstance(node, Const):
            base[key] = node.value
            changed = changed or node.value is not item
        else:
            base[key] = None
            filled.append((key, node))
    if filled:
        return ObjectNode(base, tuple(filled))
    return Const(base if changed else value)


def _compile_list(value: list[Any], field: str, compilation: Compilation, depth: int) -> Node:
    nodes = [
        compile_node(item, f"{field}.{i}", compilation, depth + 1) for i, item in enumerate(value)
    ]
    constants = [node.value for node in nodes if isinstance(node, Const)]
    if len(constants) < len(nodes):
        return ListNode(tuple(nodes))
    unchanged = all(new is old for new, old in zip(constants, value, strict=True))
    return Const(value if unchanged else constants)
