"""Checks of a command's parameters by the schema that its executor announced."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.shapes.dialect import JUDGED, Fault, Form, Judge
from kaiju_tasks.shapes.nearest import did_you_mean
from kaiju_tasks.shapes.wording import describe
from kaiju_tasks.templates import MISSING, compiled_template

__all__ = ["ANYTHING", "Misfit", "Shape", "shape"]

MAX_SCHEMA_BYTES = 16_384
"""The maximum size of a command's schema. A larger schema is not read."""
KEPT_BYTES = 1_024
KEPT_TEXT = 100
"""Shorter params, and shorter values, are judged once: those of bounds and choices come again."""
MAX_MISFITS = 10
NAME_LENGTH_MAX = 100


class Misfit(NamedTuple):
    """A parameter that is certainly invalid.

    :ivar path: path of the value, for example `params.prices.0`
    :ivar what: what is expected, for example "must be a number, not text"
    """

    path: str
    what: str


class _Document(Struct):
    """How the schema of all parameters must be written, as far as it is read."""

    type: str = "object"
    properties: dict[str, Form | bool] = {}
    required: list[str] = []
    defs: dict[str, Form | bool] = field(name="$defs", default_factory=dict)
    definitions: dict[str, Form | bool] = {}


class Shape:
    """The parameters of a command, by its schema.

    :param document: a JSON Schema of an object, of the form `Form`
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._properties: dict[str, Any] = document.get("properties", {})
        self._names = tuple(self._properties)
        self._required = tuple(document.get("required", ()))
        self._closed = (
            document.get("additionalProperties") is False and "patternProperties" not in document
        )
        self._targets = _targets(document)
        self._judge = Judge(self._targets)
        self._checked = {
            name: _plain(schema)
            for name, schema in self._properties.items()
            if schema is not True and _judged(schema)
        }

    def misfits(self, params: bytes) -> tuple[Misfit, ...]:
        """Return the invalid parameters, at most ten. Values of templates are not judged.

        :param params: parameters of a command as JSON text
        """
        return (_kept_misfits if len(params) <= KEPT_BYTES else _misfits)(self, params)

    def check(self, params: Any) -> None:
        """Check filled parameters.

        :param params: JSON
        :raises InvalidParams: a parameter is invalid; `field` is its path
        """
        if not isinstance(params, dict):
            raise InvalidParams("`params` must be an object of named parameters", field="params")
        if (misfit := next(self._misfits_of(params), None)) is not None:
            field = misfit.path.removeprefix("params.")
            raise InvalidParams(f"`{field}` {misfit.what}", field=field)

    def _find(self, params: bytes) -> Iterator[Misfit]:
        values = compiled_template(params).outline()
        if values is not None:
            yield from self._misfits_of(values)

    def _misfits_of(self, values: Mapping[str, Any]) -> Iterator[Misfit]:
        """:param values: by name of the parameter; MISSING for one that is not known yet"""
        for name in self._required:
            if name not in values:
                what = describe(self._properties.get(name), self._targets)
                yield _misfit((name,), f"is required: {what}")
        if self._closed and not values.keys() <= self._properties.keys():
            for name in values:
                if name not in self._properties:
                    yield _misfit((name,), f"is not known; {did_you_mean(name, self._names)}")
        for name, plain in self._checked.items():
            value = values.get(name, MISSING)
            if value is MISSING or plain.fits(value):
                continue
            if (fault := self._fault(name, value)) is not None:
                yield _misfit((name, *fault.path), fault.what)

    def _fault(self, name: str, value: Any) -> Fault | None:
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) <= KEPT_TEXT):
            return _kept_fault(self, name, value)
        return self.judge(name, value)

    def judge(self, name: str, value: Any) -> Fault | None:
        """Return the problem of the value of one parameter."""
        return self._judge.fault(value, self._properties[name])


def shape(schema: bytes) -> Shape:
    """Return the parameters of a schema. Each schema is read only once.

    :param schema: any JSON text, which may be an invalid schema
    """
    return _shape(schema) if len(schema) <= MAX_SCHEMA_BYTES else ANYTHING


@lru_cache(maxsize=512)
def _shape(schema: bytes) -> Shape:
    try:
        if msgspec.json.decode(schema, type=_Document).type != "object":
            return ANYTHING
        return Shape(msgspec.json.decode(schema))
    except (msgspec.DecodeError, RecursionError):
        return ANYTHING


def _misfits(shape: Shape, params: bytes) -> tuple[Misfit, ...]:
    return tuple(islice(shape._find(params), MAX_MISFITS))


_kept_misfits = lru_cache(maxsize=4096)(_misfits)


@lru_cache(maxsize=4096, typed=True)  # True and 1.0 are equal to 1
def _kept_fault(shape: Shape, name: str, value: Any) -> Fault | None:
    return shape.judge(name, value)


def _misfit(path: tuple[str, ...], what: str) -> Misfit:
    return Misfit(".".join(["params", *(part[:NAME_LENGTH_MAX] for part in path)]), what)


def _targets(document: dict[str, Any]) -> dict[str, Any]:
    return {
        f"#/{place}/{name.replace('~', '~0').replace('/', '~1')}": schema
        for place in ("$defs", "definitions")
        for name, schema in document.get(place, {}).items()
    }


# -- without jsonschema ----------------------------------------------------------------------

_TYPES: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
    "null": frozenset({type(None)}),
}


class Plain(NamedTuple):
    """A quick check for values that certainly fit. Most parameters need no other check.

    :ivar types: types whose values all fit
    :ivar items: types of the items of lists that fit
    """

    types: frozenset[type] = frozenset()
    items: frozenset[type] = frozenset()

    def fits(self, value: Any) -> bool:
        kind = type(value)
        if kind in self.types:
            return True
        return kind is list and bool(self.items) and self.items.issuperset(map(type, value))


def _plain(schema: Any) -> Plain:
    judged = _judged(schema)
    if judged == {"type"}:
        names = schema["type"]
        names = [names] if isinstance(names, str) else names
        return Plain(frozenset().union(*(_TYPES[name] for name in names)))
    if judged == {"type", "items"} and schema["type"] == "array":
        return Plain(items=_plain(schema["items"]).types)
    if judged == {"anyOf"}:
        ways = [_plain(one) for one in schema["anyOf"]]
        return Plain(
            frozenset().union(*(way.types for way in ways)),
            max((way.items for way in ways), key=len, default=frozenset()),
        )
    return Plain()


def _judged(schema: Any) -> set[str]:
    return set(JUDGED & schema.keys()) if isinstance(schema, dict) else {"false"}


ANYTHING = Shape({})
"""The parameters of a command whose schema is unknown or cannot be read."""
