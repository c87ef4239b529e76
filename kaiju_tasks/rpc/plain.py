"""Types without `msgspec.Raw`: what the bytes hold is any JSON value, defaults included.

msgspec cannot write the schema of a struct that has a `Raw` as a default.
"""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Raw, Struct

__all__ = ["Plain"]


class Plain:
    """Gives types without `Raw`, the same one for the same type; others as they are."""

    def __init__(self) -> None:
        self._known: dict[type[Struct], Any] = {}

    def of(self, type_: Any) -> Any:
        """Give the type without `Raw`.

        :param type_: any type that msgspec decodes
        :raises ValueError: a struct holds itself
        """
        if type_ is Raw:
            return Any
        if isinstance(type_, type) and issubclass(type_, Struct):
            return self._struct(type_)
        arguments = get_args(type_)
        plain = tuple(self.of(argument) for argument in arguments)
        if all(new is old for new, old in zip(plain, arguments, strict=True)):
            return type_
        origin = get_origin(type_)
        if origin is Annotated:
            return Annotated[(plain[0], *type_.__metadata__)]
        return Union[plain] if origin in (Union, UnionType) else origin[plain]  # noqa: UP007

    def _struct(self, struct: type[Struct]) -> Any:
        if struct not in self._known:
            self._known[struct] = None
            self._known[struct] = self._without_raw(struct)
        if self._known[struct] is None:
            raise ValueError(f"types must not hold themselves: {struct.__name__}")
        return self._known[struct]

    def _without_raw(self, struct: type[Struct]) -> type[Struct]:
        fields = msgspec.structs.fields(struct)
        types = [self.of(field.type) for field in fields]
        if all(new is field.type for new, field in zip(types, fields, strict=True)):
            return struct
        config = struct.__struct_config__
        return msgspec.defstruct(
            struct.__name__,
            [
                (field.name, type_, _field(field))
                for field, type_ in zip(fields, types, strict=True)
            ],
            namespace={"__doc__": struct.__doc__},
            kw_only=True,
            forbid_unknown_fields=config.forbid_unknown_fields,
            tag=config.tag,
            tag_field=config.tag_field,
        )


def _field(field: msgspec.structs.FieldInfo) -> Any:
    name = field.encode_name
    if field.default_factory is not NODEFAULT:
        return msgspec.field(name=name, default_factory=field.default_factory)
    if isinstance(field.default, Raw):
        value = msgspec.json.decode(field.default)
        if isinstance(value, list | dict):
            return msgspec.field(
                name=name, default_factory=(lambda: value) if value else type(value)
            )
        return msgspec.field(name=name, default=value)
    return msgspec.field(name=name, default=field.default)
