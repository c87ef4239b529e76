"""The nodes of a compiled template; each is filled from a scope."""

from typing import Any, Final, Protocol

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.functions import Function
from kaiju_tasks.templates.scope import Scope
from kaiju_tasks.templates.values import shown, text_of, type_name, weight

__all__ = [
    "MISSING",
    "Call",
    "Concat",
    "Const",
    "ListNode",
    "Node",
    "ObjectNode",
    "Select",
    "TextNode",
    "located",
]


class Missing:
    """The type of :data:`MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


class Node(Protocol):
    """A part of a compiled template."""

    def fill(self, scope: Scope) -> Any:
        """The value of this part."""


class Const:
    """A constant value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def fill(self, scope: Scope) -> Any:
        """The value itself."""
        return self.value


class Concat:
    """Parts that are joined to a text."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Node, ...]) -> None:
        self.parts = parts

    def fill(self, scope: Scope) -> str:
        """The text."""
        texts = []
        length = 0
        for part in self.parts:
            text = text_of(part.fill(scope), scope)
            length += len(text)
            scope.work(1 + weight(text))
            scope.room_for(length)
            texts.append(text)
        return "".join(texts)


class Call:
    """A function applied to arguments."""

    __slots__ = ("args", "function")

    def __init__(self, function: Function, args: tuple[Node, ...]) -> None:
        self.function = function
        self.args = args

    def fill(self, scope: Scope) -> Any:
        """The function's result."""
        return self.function([arg.fill(scope) for arg in self.args], scope)


class Select:
    """A value selected from the data by path.

    :param segments: keys and list positions; a node is filled to one key
    :param default: replaces a missing value
    """

    __slots__ = ("_default", "_keys", "_segments")

    def __init__(self, segments: tuple[str | Node, ...], default: Node | None) -> None:
        self._segments = segments
        self._keys = tuple(s for s in segments if isinstance(s, str))
        self._default = default

    def fill(self, scope: Scope) -> Any:
        """The selected value, or the default.

        :raises TemplateError: the value is missing and there is no default
        """
        keys = self._filled_keys(scope)
        try:
            value = _walk(scope.data.get(keys[0], MISSING), keys, 1, scope, MISSING)
        except _ItemMissing as item:
            if self._default is None:
                raise _missing(item.keys) from None
            filler = self._default.fill(scope)
            return _walk(scope.data[keys[0]], keys, 1, scope, filler)
        if value is not MISSING:
            return value
        if self._default is None:
            raise _missing(keys)
        return self._default.fill(scope)

    def find(self, scope: Scope) -> Any:
        """The selected value, the default, or :data:`MISSING`.

        :raises TemplateError: the value is missing in an item of a list
        """
        if self._default is not None:
            return self.fill(scope)
        keys = self._filled_keys(scope)
        try:
            return _walk(scope.data.get(keys[0], MISSING), keys, 1, scope, MISSING)
        except _ItemMissing as item:
            raise _missing(item.keys) from None

    def _filled_keys(self, scope: Scope) -> tuple[str, ...]:
        if len(self._keys) == len(self._segments):
            return self._keys
        return tuple(
            segment if isinstance(segment, str) else _as_key(segment.fill(scope), scope)
            for segment in self._segments
        )


class TextNode:
    """A text that contains templates; its errors name its field.

    :param node: the compiled text
    :param field: the path of the text in the template
    """

    __slots__ = ("_field", "_node")

    def __init__(self, node: Node, field: str) -> None:
        self._node = node
        self._field = field

    def fill(self, scope: Scope) -> Any:
        """The filled value, counted as output."""
        try:
            value = self._node.fill(scope)
            scope.emit(value)
        except TemplateError as error:
            raise located(error, self._field) from None
        return value


class ObjectNode:
    """An object with some values that are filled.

    :param base: all keys in order, with the constant values
    :param filled: the keys that are filled
    """

    __slots__ = ("_base", "_filled")

    def __init__(self, base: dict[str, Any], filled: tuple[tuple[str, Node], ...]) -> None:
        self._base = base
        self._filled = filled

    def fill(self, scope: Scope) -> dict[str, Any]:
        """A new object."""
        value = self._base.copy()
        for key, node in self._filled:
            value[key] = node.fill(scope)
        return value

    def outline(self) -> dict[str, Any]:
        """The constant values, and `MISSING` for each value that is filled."""
        return self._base | {key: MISSING for key, _ in self._filled}


class ListNode:
    """A list with some items that are filled."""

    __slots__ = ("_nodes",)

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self._nodes = nodes

    def fill(self, scope: Scope) -> list[Any]:
        """A new list."""
        return [node.fill(scope) for node in self._nodes]


def located(error: TemplateError, field: str) -> TemplateError:
    """The same error with its field, unless it already has one."""
    if error.field is not None:
        return error
    return TemplateError(
        f"{field}: {error.message}", field=field, path=error.path, position=error.position
    )


class _ItemMissing(Exception):
    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = keys


def _walk(value: Any, keys: tuple[str, ...], start: int, scope: Scope, filler: Any) -> Any:
    for i in range(start, len(keys)):
        key = keys[i]
        if isinstance(value, dict):
            value = value.get(key, MISSING)
        elif not isinstance(value, list):
            return MISSING
        elif _is_position(key):
            value = value[int(key)] if int(key) < len(value) else MISSING
        else:
            return _walk_each(value, keys, i, scope, filler)
    return value


def _walk_each(
    items: list[Any], keys: tuple[str, ...], at: int, scope: Scope, filler: Any
) -> list[Any]:
    scope.work(len(items))
    found = []
    for position, item in enumerate(items):
        value = _walk(item, keys, at, scope, filler)
        if value is MISSING:
            value = filler
        if value is MISSING:
            raise _ItemMissing((*keys[:at], str(position), *keys[at:]))
        found.append(value)
    return found


def _missing(keys: tuple[str, ...]) -> TemplateError:
    path = ".".join(_written(key) for key in keys)
    return TemplateError(
        f"{shown(path)} is missing and has no default. To set one, write [path:default].",
        path=path,
    )


def _as_key(value: Any, scope: Scope) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise TemplateError(
            f"A key in a path must be a text or an integer, not {type_name(value)}."
        )
    return text_of(value, scope)


def _is_position(key: str) -> bool:
    return len(key) < 10 and key.isascii() and key.isdigit()


def _written(key: str) -> str:
    key = key if len(key) <= 80 else key[:77] + "…"
    plain = key and not any(c in key for c in ".:[]{}` ")
    return key if plain else "`" + key.replace("`", "``") + "`"
