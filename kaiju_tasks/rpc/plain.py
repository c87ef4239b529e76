"""Types as documents describe them: with `DescribedAs` and docs of bases, without `msgspec.Raw`.

A `Raw` is described as any JSON value, and so is its default: msgspec cannot write the schema of a
struct that has a `Raw` as a default.
"""

import re
from inspect import cleandoc
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Raw, Struct

from kaiju_tasks.described import DescribedAs

__all__ = ["ANY_JSON", "Plain"]

ANY_JSON = "any JSON value"
_ANYTHING = Annotated[Any, Meta(description=ANY_JSON)]
_PARAM = re.compile(r"^:param (\w+):", re.MULTILINE)


class Plain:
    """Converts types to described types. A type is always converted to the same type."""

    def __init__(self) -> None:
        self._known: dict[type[Struct], Any] = {}

    def of(self, type_: Any) -> Any:
        """Return the described type of a type.

        :param type_: any type that msgspec decodes
        :raises ValueError: a struct contains itself
        """
        if type_ is Raw or type_ is Any:
            return _ANYTHING
        if isinstance(type_, type) and issubclass(type_, Struct):
            return self._struct(type_)
        for metadata in getattr(type_, "__metadata__", ()):
            if isinstance(metadata, DescribedAs):
                return self.of(metadata.type)
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
            self._known[struct] = self._described(struct)
        if self._known[struct] is None:
            raise ValueError(f"types must not contain themselves: {struct.__name__}")
        return self._known[struct]

    def _described(self, struct: type[Struct]) -> type[Struct]:
        fields = msgspec.structs.fields(struct)
        types = [self.of(field.type) for field in fields]
        doc = _doc(struct)
        same = all(new is field.type for new, field in zip(types, fields, strict=True))
        if same and doc == struct.__doc__:
            return struct
        config = struct.__struct_config__
        return msgspec.defstruct(
            struct.__name__,
            [
                (field.name, type_, _field(field))
                for field, type_ in zip(fields, types, strict=True)
            ],
            namespace={"__doc__": doc},
            kw_only=True,
            forbid_unknown_fields=config.forbid_unknown_fields,
            tag=config.tag,
            tag_field=config.tag_field,
        )


def _doc(struct: type[Struct]) -> str | None:
    """Return the docstring, with the parameters that only the docstrings of the bases describe."""
    doc = struct.__doc__
    for base in struct.__mro__[1:]:
        if base in (Struct, object) or not base.__doc__ or base.__doc__ == doc:
            continue
        known = {match[1] for match in _PARAM.finditer(cleandoc(doc or ""))}
        inherited = [
            part.strip()
            for part in re.split(r"^(?=:param )", cleandoc(base.__doc__), flags=re.MULTILINE)
            if (match := _PARAM.match(part)) and match[1] not in known
        ]
        if inherited:
            doc = "\n".join([cleandoc(doc or ""), "", *inherited])
    return doc


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
