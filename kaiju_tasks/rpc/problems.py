"""All problems of plain data; `convert` only reports the first one."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.rpc.convert import child_type, explain, missing_field, union_members, unknown_field
from kaiju_tasks.rpc.edge import NAME_LENGTH_MAX

__all__ = ["problems"]


def problems(value: Any, type_: Any, prefix: str) -> Iterator[InvalidParams]:
    """Find the problems of a value, in the order of the value.

    :param value: plain data, as `rpc.decode` returns it
    :param type_: any type that msgspec decodes, without `msgspec.Raw` in it
    :param prefix: path of the value
    """
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        inner = _inner(value, type_, prefix)
        first = next(inner, None)
        if first is None or _is_about_itself(error):
            yield explain(error, value, type_, prefix=prefix)
        if first is not None:
            yield first
            yield from inner


def _is_about_itself(error: msgspec.ValidationError) -> bool:
    """Return whether an error is about the value itself, and not about one of its members."""
    text = str(error)
    return " - at `" not in text and not text.startswith(("Object missing", "Object contains"))


def _inner(value: Any, type_: Any, prefix: str) -> Iterator[InvalidParams]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _of(item, child_type(type_, str(index)), f"{prefix}.{index}")
    elif isinstance(value, Mapping):
        struct = _struct(type_)
        if struct is not None:
            yield from _of_struct(value, struct, prefix)
        else:
            for name, item in value.items():
                yield from _of(item, child_type(type_, name), _path(prefix, name))


def _of_struct(
    value: Mapping[str, Any], struct: type[Struct], prefix: str
) -> Iterator[InvalidParams]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name, item in value.items():
        if name in fields:
            yield from problems(item, fields[name].type, f"{prefix}.{name}")
        elif struct.__struct_config__.forbid_unknown_fields:
            yield unknown_field(name, struct, prefix)
    for name, field in fields.items():
        if field.required and name not in value:
            yield missing_field(name, struct, prefix)


def _of(value: Any, type_: Any | None, path: str) -> Iterator[InvalidParams]:
    return iter(()) if type_ is None else problems(value, type_, path)


def _struct(type_: Any) -> type[Struct] | None:
    for member in union_members(type_):
        if isinstance(member, type) and issubclass(member, Struct):
            return member
    return None


def _path(prefix: str, name: str) -> str:
    return f"{prefix}.{name[:NAME_LENGTH_MAX]}"
