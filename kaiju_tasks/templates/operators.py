"""The checks of a condition on one value: operators, aggregates, alternatives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.functions import FUNCTIONS, Function
from kaiju_tasks.templates.nodes import MISSING, Const, Node, Select
from kaiju_tasks.templates.patterns import Pattern, compile_like, compile_match
from kaiju_tasks.templates.scope import Scope
from kaiju_tasks.templates.values import equal, is_number, type_name

__all__ = [
    "AGGREGATES",
    "OPERATORS",
    "Aggregate",
    "All",
    "Any_",
    "Check",
    "Compare",
    "Negation",
    "Subject",
    "check_operand",
]

Operator = Callable[[Any, Any, Scope], bool]


class Subject:
    """The value to check, selected once.

    :param node: selects the value
    """

    __slots__ = ("_found", "_node", "_scope")

    def __init__(self, node: Node, scope: Scope) -> None:
        self._node = node
        self._scope = scope
        self._found = node.find(scope) if isinstance(node, Select) else node.fill(scope)

    def value(self) -> Any:
        """The value.

        :raises TemplateError: it is missing
        """
        return self._node.fill(self._scope) if self._found is MISSING else self._found

    def value_or_null(self) -> Any:
        """The value, or null if it is missing."""
        return None if self._found is MISSING else self._found


class Check(Protocol):
    """A check of a value."""

    def passes(self, subject: Subject, scope: Scope) -> bool:
        """Whether the value passes.

        :raises TemplateError: the value is missing, or the operator does not accept its type
        """


@dataclass(frozen=True, slots=True)
class Compare:
    """An operator with its operand."""

    name: str
    operand: Node

    @property
    def asks_for_null(self) -> bool:
        """Whether the operand is null, so that a missing value is not an error."""
        return (
            self.name in ("eq", "ne")
            and isinstance(self.operand, Const)
            and self.operand.value is None
        )

    def passes(self, subject: Subject, scope: Scope) -> bool:
        """Whether the operator holds between the value and the operand."""
        value = subject.value_or_null() if self.asks_for_null else subject.value()
        scope.work(1)
        return OPERATORS[self.name](value, self.operand.fill(scope), scope)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function over a list, and checks of its result."""

    function: Function
    check: Check

    def passes(self, subject: Subject, scope: Scope) -> bool:
        """Whether the aggregate passes its check."""
        value = subject.value()
        if not isinstance(value, list):
            raise TemplateError(f"agg needs a list, but got {type_name(value)}.")
        return self.check.passes(Subject(Const(self.function([value], scope)), scope), scope)


@dataclass(frozen=True, slots=True)
class Negation:
    """The opposite of a check."""

    check: Check

    def passes(self, subject: Subject, scope: Scope) -> bool:
        """Whether the check does not pass."""
        return not self.check.passes(subject, scope)


@dataclass(frozen=True, slots=True)
class All:
    """Checks that must all pass, evaluated up to the first that does not."""

    checks: tuple[Check, ...]

    def passes(self, subject: Subject, scope: Scope) -> bool:
        """Whether all pass."""
        return all(check.passes(subject, scope) for check in self.checks)


@dataclass(frozen=True, slots=True)
class Any_:
    """Checks of which one must pass, evaluated up to the first that passes."""

    checks: tuple[Check, ...]

    def passes(self, subject: Subject, scope: Scope) -> bool:
        """Whether one passes."""
        return any(check.passes(subject, scope) for check in self.checks)


def check_operand(name: str, operand: Node) -> Node:
    """Refuse a literal operand that the operator never accepts; compile a literal pattern.

    :raises TemplateError: the type is wrong, or the pattern is malformed
    """
    if not isinstance(operand, Const):
        if name == "match":
            raise TemplateError("match needs a literal pattern, because patterns are never filled.")
        return operand
    value = operand.value
    if name in ORDER and not is_number(value) and not isinstance(value, str):
        raise _wrong(name, "a number or a text", value)
    if name == "in" and not isinstance(value, list):
        raise _wrong(name, "a list", value)
    if name in COMPILERS:
        return Const(_pattern(name, value))
    return operand


def _wrong(name: str, expected: str, value: Any) -> TemplateError:
    return TemplateError(f"{name} needs {expected} to compare with, but got {type_name(value)}.")


def _pattern(name: str, value: Any) -> Pattern:
    if not isinstance(value, str):
        raise _wrong(name, "a text", value)
    return COMPILERS[name](value)


def _ordered(name: str, holds: Callable[[Any, Any], bool]) -> Operator:
    def compare(value: Any, operand: Any, scope: Scope) -> bool:
        numbers = is_number(value) and is_number(operand)
        if not numbers and not (isinstance(value, str) and isinstance(operand, str)):
            raise TemplateError(
                f"{name} compares two numbers or two texts,"
                f" not {type_name(value)} with {type_name(operand)}."
            )
        return holds(value, operand)

    return compare


def _equals(value: Any, operand: Any, scope: Scope) -> bool:
    return equal(value, operand, scope)


def _differs(value: Any, operand: Any, scope: Scope) -> bool:
    return not equal(value, operand, scope)


def _has(value: Any, operand: Any, scope: Scope) -> bool:
    if isinstance(value, list):
        return any(equal(item, operand, scope) for item in value)
    if not isinstance(value, (str, dict)):
        raise TemplateError(f"has searches a list, a text or an object, not {type_name(value)}.")
    if not isinstance(operand, str):
        raise TemplateError(
            f"has searches {type_name(value)} for a text, not for {type_name(operand)}."
        )
    scope.work(len(value) // 16 if isinstance(value, str) else 1)
    return operand in value


def _in(value: Any, operand: Any, scope: Scope) -> bool:
    if not isinstance(operand, list):
        raise _wrong("in", "a list", operand)
    return any(equal(value, item, scope) for item in operand)


def _matched(name: str) -> Operator:
    def match(value: Any, operand: Any, scope: Scope) -> bool:
        if not isinstance(value, str):
            raise TemplateError(f"{name} checks a text, not {type_name(value)}.")
        if isinstance(operand, Pattern):
            return operand.matches(value, scope)
        pattern = _pattern(name, operand)
        scope.work(10 * len(operand))
        return pattern.matches(value, scope)

    return match


COMPILERS = {"match": compile_match, "like": compile_like}
ORDER: dict[str, Operator] = {
    "gt": _ordered("gt", lambda a, b: a > b),
    "lt": _ordered("lt", lambda a, b: a < b),
    "ge": _ordered("ge", lambda a, b: a >= b),
    "le": _ordered("le", lambda a, b: a <= b),
}
OPERATORS: dict[str, Operator] = {
    **ORDER,
    "eq": _equals,
    "ne": _differs,
    "has": _has,
    "in": _in,
    "match": _matched("match"),
    "like": _matched("like"),
}
AGGREGATES = {name: FUNCTIONS[name] for name in ("sum", "min", "max", "all", "any", "len")}
