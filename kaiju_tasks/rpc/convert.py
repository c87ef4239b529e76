"""Convert plain data to types. Only this module converts msgspec.ValidationError."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, overload

import msgspec
from msgspec import Struct

from kaiju_tasks.errors import InvalidParams, ParseError
from kaiju_tasks.rpc.describe import describe, kind
from kaiju_tasks.rpc.edge import NAME_LENGTH_MAX, number_out_of_range

__all__ = ["convert", "convert_json", "explain", "missing_field", "unknown_field"]

T = TypeVar("T")

_ERROR = re.compile(r"(?s)(?P<what>.*?)(?: - at (?:`key` in )?`\$(?P<path>[^`]*)`)?")
_SEGMENT = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+)\]|(?P<key>\[\.\.\.\])")
_NAMED = re.compile(r"(?s)Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`")
_UNKNOWN = object()


@overload
def convert(value: Any, type_: type[T], *, prefix: str = "") -> T: ...
@overload
def convert(value: Any, type_: Any, *, prefix: str = "") -> Any: ...
def convert(value: Any, type_: Any, *, prefix: str = "") -> Any:
    """Convert plain data to a type, strictly: the text "1" is not a number.

    :param value: plain data, as `rpc.decode` returns it
    :param type_: any type that msgspec decodes, without `msgspec.Raw` in it
    :param prefix: path of the value, for `field` of the error, for example `data`
    :raises InvalidParams: the data do not match the type; `field` is the path of the invalid
        value, for example `data.commands.0.name`
    """
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise explain(error, value, type_, prefix=prefix) from None


@overload
def convert_json(raw: bytes | msgspec.Raw, type_: type[T], *, prefix: str = "") -> T: ...
@overload
def convert_json(raw: bytes | msgspec.Raw, type_: Any, *, prefix: str = "") -> Any: ...
def convert_json(raw: bytes | msgspec.Raw, type_: Any, *, prefix: str = "") -> Any:
    """Convert JSON text that `rpc.edge` has checked. `msgspec.Raw` parts stay bytes.

    :param raw: JSON text
    :param type_: any type that msgspec decodes
    :param prefix: as in `convert`
    :raises InvalidParams: as in `convert`
    :raises ParseError: the text is not JSON
    """
    try:
        return msgspec.json.decode(raw, type=type_)
    except msgspec.ValidationError as error:
        raise explain(error, _loaded(raw), type_, prefix=prefix) from None
    except msgspec.DecodeError as error:
        raise ParseError(f"this is not JSON: {error}") from None


def explain(
    error: msgspec.ValidationError, value: Any, type_: Any, *, prefix: str = ""
) -> InvalidParams:
    """Convert an error of msgspec to InvalidParams.

    :param value: the data that msgspec refused
    :param type_: the expected type
    :param prefix: path of the value
    """
    match = _ERROR.fullmatch(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    segments, type_, value = _locate(path, type_, value)
    if prefix:
        segments.insert(0, prefix)
    if named := _NAMED.fullmatch(what):
        of_name = missing_field if named["fault"] == "missing required" else unknown_field
        return of_name(named["name"], type_, ".".join(segments))
    field = ".".join(segments)
    if what.endswith("out of range") and "umber" not in describe(type_):
        return number_out_of_range(field)
    subject = f"`{field}`" if field else "the value"
    return InvalidParams(f"{subject} must be {_expected(what, type_, value)}", field=field or None)


def missing_field(name: str, type_: Any, prefix: str) -> InvalidParams:
    """Return the error for a missing member of an object.

    :param type_: type of the object
    :param prefix: path of the object
    """
    field, fields = _path(prefix, name), _fields(type_)
    message = f"`{field}` is required"
    if name in fields:
        message += f": {describe(fields[name])}"
    return InvalidParams(message, field=field)


def unknown_field(name: str, type_: Any, prefix: str) -> InvalidParams:
    """Return the error for an unknown member of an object.

    :param type_: type of the object
    :param prefix: path of the object
    """
    field, fields = _path(prefix, name), _fields(type_)
    message = f"`{field}` is not known"
    if name in getattr(type_, "READ_ONLY", ()):
        message = f"`{field}` is set by the manager only: leave it out"
    elif close := get_close_matches(name, fields, n=1):
        message += f"; did you mean `{close[0]}`?"
    elif fields:
        message += f"; known names are {', '.join(fields)}"
    return InvalidParams(message, field=field)


def _path(prefix: str, name: str) -> str:
    name = name[:NAME_LENGTH_MAX]
    return f"{prefix}.{name}" if prefix else name


def _expected(what: str, type_: Any, value: Any) -> str:
    if type_ is _UNKNOWN:
        return what.replace("`", "").removeprefix("Expected ")
    expected = describe(type_)
    if ", got `" in what and value is not _UNKNOWN:
        return f"{expected}, not {kind(value)}"
    return expected


def _locate(path: str, type_: Any, value: Any) -> tuple[list[str], Any, Any]:
    """Follow the path of msgspec's error. It hides keys of objects, which are found by trial."""
    segments: list[str] = []
    for match in _SEGMENT.finditer(path):
        segment = match["name"] or match["index"]
        if segment is None:
            segment = _wrong_key(value, _child(type_, "*"))
        if segment is None:
            return segments, _UNKNOWN, _UNKNOWN
        segments.append(segment[:NAME_LENGTH_MAX])
        type_, value = _child(type_, segment), _item(value, segment)
    return segments, type_, value


def _wrong_key(value: Any, type_: Any) -> str | None:
    if not isinstance(value, Mapping) or type_ is _UNKNOWN:
        return None
    for key, item in value.items():
        try:
            msgspec.convert(item, type_)
        except msgspec.ValidationError:
            return str(key)
    return None


def _item(value: Any, segment: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(segment, _UNKNOWN)
    if isinstance(value, list | tuple) and segment.isdecimal() and int(segment) < len(value):
        return value[int(segment)]
    return _UNKNOWN


def _child(type_: Any, segment: str) -> Any:
    fields = _fields(type_)
    if segment in fields:
        return fields[segment]
    for member in union_members(type_):
        origin, arguments = get_origin(member), get_args(member)
        if not arguments:
            continue
        if origin is tuple and arguments[-1] is not Ellipsis:
            if segment.isdecimal() and int(segment) < len(arguments):
                return arguments[int(segment)]
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            return arguments[1]
        elif segment.isdecimal():
            return arguments[0]
    return _UNKNOWN


def child_type(type_: Any, segment: str) -> Any | None:
    """Return the type of a member or an item; None if it is unknown."""
    found = _child(type_, segment)
    return None if found is _UNKNOWN else found


def _fields(type_: Any) -> dict[str, Any]:
    return {
        field.encode_name: field.type
        for member in union_members(type_)
        if isinstance(member, type) and issubclass(member, Struct)
        for field in msgspec.structs.fields(member)
    }


def union_members(type_: Any) -> tuple[Any, ...]:
    """Return the types that a value can have."""
    if get_origin(type_) is Annotated:
        return union_members(get_args(type_)[0])
    if get_origin(type_) in (Union, UnionType):
        return tuple(inner for member in get_args(type_) for inner in union_members(member))
    return (type_,)


def _loaded(raw: bytes | msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return _UNKNOWN
