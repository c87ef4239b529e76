"""Descriptions of types for error messages: what a value must be."""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import inspect

__all__ = ["describe", "kind"]

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    type(None): "null",
}


def kind(value: Any) -> str:
    """Describe the kind of a JSON value, for example "text" or "a list"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _KINDS.get(type(value), type(value).__name__)


def describe(type_: Any) -> str:
    """Describe the values of a type, for example "an integer between 0 and 10".

    :param type_: any type that msgspec decodes
    """
    return _words(inspect.type_info(type_))


def _words(info: inspect.Type) -> str:
    for known, words in _WORDS.items():
        if isinstance(info, known):
            return words(info)
    return "valid"


def _union(info: Any) -> str:
    nulls = [member for member in info.types if isinstance(member, inspect.NoneType)]
    others = [member for member in info.types if not isinstance(member, inspect.NoneType)]
    return " or ".join(dict.fromkeys(_words(member) for member in [*others, *nulls]))


def _number(noun: str) -> Callable[[Any], str]:
    def words(info: Any) -> str:
        if info.ge is not None and info.le is not None:
            text = f"{noun} between {info.ge:.15g} and {info.le:.15g}"
        else:
            text = f"{noun} {_bounds(info)}".rstrip()
        if info.multiple_of is not None:
            text += f", a multiple of {info.multiple_of:.15g}"
        return text

    return words


def _bounds(info: Any) -> str:
    bounds = [
        f"{word} {bound:.15g}"
        for word, bound in (
            ("of at least", info.ge),
            ("more than", info.gt),
            ("at most", info.le),
            ("less than", info.lt),
        )
        if bound is not None
    ]
    return " and ".join(bounds)


def _text(info: Any) -> str:
    text = f"text {_length(info, 'character')}".rstrip()
    return f"{text} that matches {info.pattern}" if info.pattern else text


def _list(info: Any) -> str:
    return f"a list {_length(info, 'item')}".rstrip()


def _object(info: Any) -> str:
    return f"an object {_length(info, 'member')}".rstrip()


def _length(info: Any, unit: str) -> str:
    least, most = info.min_length, info.max_length
    if least is not None and most is not None:
        return f"of {least} to {most} {unit}s"
    if least is not None:
        return f"of at least {least} {unit}{'' if least == 1 else 's'}"
    return "" if most is None else f"of at most {most} {unit}{'' if most == 1 else 's'}"


def _description(info: Any) -> str | None:
    text: str | None = (info.extra_json_schema or {}).get("description")
    return text


def _tuple(info: Any) -> str:
    return f"a list of {len(info.item_types)} items"


def _one_of(values: Iterable[Any]) -> str:
    texts = [f'"{value}"' if isinstance(value, str) else str(value) for value in values]
    return texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"


_WORDS: dict[type, Callable[[Any], str]] = {
    inspect.Metadata: lambda info: _description(info) or _words(info.type),
    inspect.UnionType: _union,
    inspect.IntType: _number("an integer"),
    inspect.FloatType: _number("a number"),
    inspect.StrType: _text,
    inspect.BoolType: lambda info: "true or false",
    inspect.NoneType: lambda info: "null",
    inspect.EnumType: lambda info: _one_of(member.value for member in info.cls),
    inspect.LiteralType: lambda info: _one_of(info.values),
    inspect.TupleType: _tuple,
    inspect.CollectionType: _list,
    inspect.DictType: _object,
    inspect.StructType: lambda info: "an object",
    inspect.AnyType: lambda info: "any JSON value",
    inspect.RawType: lambda info: "any JSON value",
    inspect.DateTimeType: lambda info: "an ISO-8601 time",
    inspect.DateType: lambda info: "an ISO-8601 date",
    inspect.TimeType: lambda info: "an ISO-8601 time of day",
    inspect.TimeDeltaType: lambda info: "an ISO-8601 duration",
    inspect.DecimalType: lambda info: "a decimal number",
    inspect.UUIDType: lambda info: "a UUID",
    inspect.BytesType: lambda info: "base64 text",
    inspect.ByteArrayType: lambda info: "base64 text",
    inspect.MemoryViewType: lambda info: "base64 text",
}
