"""The part of JSON Schema by which a value is certainly invalid.

Executors in any language write the schemas, and a false error about a valid task is worse than
none. Keywords whose meaning differs between languages or drafts are therefore ignored (`pattern`,
`format`). So are keywords that negate their content (`not`, `if`): checking less inside would
refuse more. Some keywords are checked less strictly: an executor accepts a number for a decimal, a
list with duplicates for a set, and a tagged object without its tag.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal, NamedTuple

from msgspec import Struct, field

from kaiju_tasks.rpc.describe import kind
from kaiju_tasks.shapes.nearest import did_you_mean
from kaiju_tasks.shapes.wording import describe, shown

__all__ = ["JUDGED", "Fault", "Form", "Judge"]

MAX_WORK = 5_000
"""The most steps for one value, a few milliseconds. A value that needs more is not judged."""

TypeName = Literal["string", "integer", "number", "boolean", "array", "object", "null"]
Number = int | float
Keyword = Callable[[Any, Any, Any, dict[str, Any]], Any]


class Form(Struct):
    """The form of a schema, as far as it is read. Nested schemas are not checked by it."""

    ref: str = field(name="$ref", default="")
    id: None = field(name="$id", default=None)
    dialect: None = field(name="$schema", default=None)
    type: TypeName | list[TypeName] = []
    enum: list[Any] = []
    properties: "dict[str, Form | bool]" = {}
    required: list[str] = []
    additionalProperties: "Form | bool" = True
    items: "Form | bool" = True
    prefixItems: "list[Form | bool]" = []
    anyOf: "list[Form | bool]" = []
    oneOf: "list[Form | bool]" = []
    allOf: "list[Form | bool]" = []
    minimum: Number = 0
    maximum: Number = 0
    exclusiveMinimum: Number = 0
    exclusiveMaximum: Number = 0
    multipleOf: Number = 0
    minLength: int = 0
    maxLength: int = 0
    minItems: int = 0
    maxItems: int = 0
    minProperties: int = 0
    maxProperties: int = 0


class Fault(NamedTuple):
    """A problem of a value.

    :ivar path: path inside the value
    :ivar what: what is expected there, for example "must be an integer, not text"
    """

    path: tuple[str, ...]
    what: str


class Judge:
    """Judges values by schemas of one document.

    :param targets: what a `$ref` may point to, by its text: `#/$defs/Address`
    """

    def __init__(self, targets: Mapping[str, Any]) -> None:
        self._targets = targets

    def fault(self, value: Any, schema: Any) -> Fault | None:
        """Return the first problem; None if there is none, or if the value cannot be judged.

        :param value: JSON
        :param schema: a schema of the form `Form`
        """
        token = _CASE.set(_Case(self._targets))
        try:
            error = next(_validator_class()(schema).iter_errors(value), None)
            return None if error is None else self._fault(error)
        except (_Undecided, RecursionError):
            return None
        finally:
            _CASE.reset(token)

    def _fault(self, error: Any) -> Fault:
        error = _meant(error)
        path = tuple(str(part) for part in error.absolute_path)
        if error.validator in _IN_OWN_WORDS:
            return Fault(path, error.message)
        if error.schema is False:  # beyond the items of a tuple, or a parameter that none may give
            return Fault(path, "must be left out")
        by_kind = error.validator in ("type", "anyOf", "oneOf")
        got = kind(error.instance) if by_kind else shown(error.instance)
        return Fault(path, f"must be {describe(error.schema, self._targets)}, not {got}")


def _meant(error: Any) -> Any:
    """Return the problem of the intended alternative, if none fits and the intention is clear."""
    while error.context:
        ways: dict[Any, list[Any]] = {}
        for one in error.context:
            ways.setdefault(one.schema_path[0], []).append(one)
        meant = [errors for errors in ways.values() if not any(map(_of_another_kind, errors))]
        if len(meant) != 1:
            return error
        error = meant[0][0]
    return error


def _of_another_kind(error: Any) -> bool:
    if error.validator == "type":
        return not error.path
    return len(error.path) == 1 and _is_tag(error.schema)


# -- judging ---------------------------------------------------------------------------------


class _Undecided(Exception):
    """The value would take too long to judge, or a `$ref` points elsewhere."""


class _Case:
    """One value at judgement."""

    def __init__(self, targets: Mapping[str, Any]) -> None:
        self.targets = targets
        self._left = MAX_WORK

    def work(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _Undecided


_CASE: ContextVar[_Case] = ContextVar("case")


@cache
def _validator_class() -> Any:
    """Created on first use: most managers never import jsonschema."""
    from jsonschema import Draft202012Validator, validators

    theirs = Draft202012Validator.VALIDATORS
    judged = {word: theirs[word] for word in _AS_THEY_ARE} | _OURS | {"oneOf": theirs["anyOf"]}
    return validators.create(
        meta_schema={},
        validators={word: _counted(keyword) for word, keyword in judged.items()},
        type_checker=Draft202012Validator.TYPE_CHECKER,
        applicable_validators=_applicable,
    )


def _applicable(schema: Any) -> Any:
    # Up to draft 7, keywords next to a `$ref` have no effect.
    return [("$ref", schema["$ref"])] if "$ref" in schema else schema.items()


def _counted(keyword: Keyword) -> Keyword:
    def judge(validator: Any, value: Any, instance: Any, schema: dict[str, Any]) -> Any:
        _CASE.get().work(1 + _size(value) + _size(instance))
        return keyword(validator, value, instance, schema)

    return judge


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _error(message: str = "", *path: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(message, path=path)


def _ref(validator: Any, ref: str, instance: Any, schema: dict[str, Any]) -> Iterator[Any]:
    targets = _CASE.get().targets
    if ref not in targets:
        raise _Undecided
    yield from validator.descend(instance, targets[ref])


def _type(validator: Any, types: Any, instance: Any, schema: dict[str, Any]) -> Iterator[Any]:
    names = [types] if isinstance(types, str) else types
    if schema.get("format") == "decimal":
        names = [*names, "number"]
    if not any(validator.is_type(instance, name) for name in names):
        yield _error()


def _required(
    validator: Any, names: list[str], instance: Any, schema: dict[str, Any]
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    of_name = schema.get("properties", {})
    for name in names:
        if name not in instance and not _is_tag(of_name.get(name)):
            what = describe(of_name.get(name), _CASE.get().targets)
            yield _error(f"is required: {what}", name)


def _is_tag(schema: Any) -> bool:
    return isinstance(schema, dict) and ("const" in schema or len(schema.get("enum", ())) == 1)


def _additional(
    validator: Any, allowed: Any, instance: Any, schema: dict[str, Any]
) -> Iterator[Any]:
    if not isinstance(instance, dict) or "patternProperties" in schema:
        return
    known = schema.get("properties", {})
    for name, value in instance.items():
        if name in known:
            continue
        if allowed is False:
            yield _error(f"is not known; {did_you_mean(name, tuple(known))}", name)
        else:
            yield from validator.descend(value, allowed, path=name)


def _bound(wrong: Callable[[Any, Any], bool]) -> Keyword:
    def judge(validator: Any, bound: Any, instance: Any, schema: dict[str, Any]) -> Iterator[Any]:
        # An executor may compare integers or doubles: invalid is only what is invalid for both.
        if (
            validator.is_type(instance, "number")
            and wrong(instance, bound)
            and wrong(float(instance), float(bound))
        ):
            yield _error()

    return judge


def _multiple(validator: Any, of: Any, instance: Any, schema: dict[str, Any]) -> Iterator[Any]:
    if type(of) is int and type(instance) is int and of and instance % of:
        yield _error()


_AS_THEY_ARE = (
    *("enum", "const", "properties", "items", "prefixItems", "anyOf", "allOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
)
_OURS: dict[str, Keyword] = {
    "$ref": _ref,
    "type": _type,
    "required": _required,
    "additionalProperties": _additional,
    "minimum": _bound(operator.lt),
    "maximum": _bound(operator.gt),
    "exclusiveMinimum": _bound(operator.le),
    "exclusiveMaximum": _bound(operator.ge),
    "multipleOf": _multiple,
}
_IN_OWN_WORDS = frozenset({"required", "additionalProperties"})
JUDGED = frozenset({*_AS_THEY_ARE, *_OURS, "oneOf"})
"""The keywords that are read."""
