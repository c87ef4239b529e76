"""Conditions: whether data meet them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.nodes import Const, Node, located
from kaiju_tasks.templates.operators import (
    AGGREGATES,
    OPERATORS,
    Aggregate,
    All,
    Any_,
    Check,
    Compare,
    Negation,
    Subject,
    check_operand,
)
from kaiju_tasks.templates.parser import Compilation, parse_key
from kaiju_tasks.templates.scope import Scope
from kaiju_tasks.templates.template import RAW, compile_node
from kaiju_tasks.templates.values import shown, type_name

__all__ = ["MAX_CONDITION_DEPTH", "MAX_PATTERNS", "Condition", "compile_condition"]

MAX_CONDITION_DEPTH = 32
MAX_PATTERNS = 4_000


class Condition:
    """A compiled condition; made by :func:`compile_condition`.

    :ivar refs: the root keys that it may read; contains `*` if a path begins with a template
    """

    __slots__ = ("_question", "refs")

    def __init__(self, question: "_Question", refs: frozenset[str]) -> None:
        self._question = question
        self.refs = refs

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Whether the data meet the condition.

        :param data: JSON values by root key
        :raises TemplateError: a value is missing (`path` names it), an operator does not accept its
            type, or a bound is exceeded
        """
        return self._question.holds(Scope(data))


def compile_condition(value: Any, *, field: str = "condition") -> Condition:
    """Compile a condition.

    :param value: an object (all entries must hold) or a list (one item must hold)
    :param field: the path of the condition, a prefix of the paths in errors
    :raises TemplateError: malformed; `field` names the place
    """
    compilation = Compilation()
    question = _Compiler(compilation).question(value, field, 1)
    return Condition(question, frozenset(compilation.roots))


class _Question(Protocol):
    def holds(self, scope: Scope) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Every:
    questions: tuple[_Question, ...]

    def holds(self, scope: Scope) -> bool:
        return all(question.holds(scope) for question in self.questions)


@dataclass(frozen=True, slots=True)
class _Some:
    questions: tuple[_Question, ...]

    def holds(self, scope: Scope) -> bool:
        return any(question.holds(scope) for question in self.questions)


@dataclass(frozen=True, slots=True)
class _Not:
    question: _Question

    def holds(self, scope: Scope) -> bool:
        return not self.question.holds(scope)


@dataclass(frozen=True, slots=True)
class _Entry:
    node: Node
    check: Check
    field: str

    def holds(self, scope: Scope) -> bool:
        try:
            return self.check.passes(Subject(self.node, scope), scope)
        except TemplateError as error:
            raise located(error, self.field) from None


class _Compiler:
    def __init__(self, compilation: Compilation) -> None:
        self._compilation = compilation
        self._pattern_room = MAX_PATTERNS

    def question(self, value: Any, field: str, depth: int) -> _Question:
        _check_depth(field, depth)
        if isinstance(value, list):
            return _Some(
                tuple(self.question(v, f"{field}.{i}", depth + 1) for i, v in enumerate(value))
            )
        if not isinstance(value, dict):
            raise TemplateError(
                f'{field}: a condition must be an object such as {{"0.value": {{"gt": 5}}}},'
                f" or a list of them, not {type_name(value)}.",
                field=field,
            )
        return _Every(
            tuple(self._entry(key, item, f"{field}.{key}", depth) for key, item in value.items())
        )

    def _entry(self, key: Any, value: Any, field: str, depth: int) -> _Question:
        if not isinstance(key, str):
            raise TemplateError(f"{field}: keys must be text.", field=field)
        if key == "not":
            return _Not(self.question(value, field, depth + 1))
        try:
            node = parse_key(key, self._compilation)
        except TemplateError as error:
            raise located(error, field) from None
        return _Entry(node, self._check(value, field, depth + 1), field)

    def _check(self, value: Any, field: str, depth: int) -> Check:
        _check_depth(field, depth)
        if isinstance(value, dict) and not (len(value) == 1 and RAW in value):
            return self._all(value, field, depth)
        if isinstance(value, list):
            if not value:
                raise TemplateError(
                    f'{field}: a list of alternatives must not be empty; write {{"eq": []}}'
                    " to compare with an empty list.",
                    field=field,
                )
            return Any_(
                tuple(self._check(v, f"{field}.{i}", depth + 1) for i, v in enumerate(value))
            )
        return self._compare("eq", value, field)

    def _all(self, value: dict[str, Any], field: str, depth: int) -> Check:
        if not value:
            raise TemplateError(
                f'{field}: an operator is missing; write {{"eq": {{}}}} to compare with an empty'
                " object.",
                field=field,
            )
        if isinstance(value.get("agg"), str):
            return self._named_aggregate(value, field, depth)
        checks = [
            check
            for name, operand in value.items()
            for check in self._checks(name, operand, f"{field}.{name}", depth)
        ]
        checks.sort(key=lambda check: not (isinstance(check, Compare) and check.asks_for_null))
        return checks[0] if len(checks) == 1 else All(tuple(checks))

    def _checks(self, name: str, operand: Any, field: str, depth: int) -> Iterator[Check]:
        if name == "not":
            yield Negation(self._check(operand, field, depth + 1))
        elif name == "agg":
            if not isinstance(operand, dict) or not operand:
                raise TemplateError(
                    f'{field}: agg needs an object such as {{"sum": {{"gt": 10}}}}.', field=field
                )
            for function, check in operand.items():
                yield self._aggregate(function, check, f"{field}.{function}", depth)
        elif name in OPERATORS:
            yield self._compare(name, operand, field)
        else:
            raise TemplateError(
                f"{field}: unknown operator {shown(str(name))}; the operators are"
                f" {', '.join(OPERATORS)}, not, agg."
                ' To compare with an object write {"eq": {...}}.',
                field=field,
            )

    def _named_aggregate(self, value: dict[str, Any], field: str, depth: int) -> Check:
        rest = {name: operand for name, operand in value.items() if name != "agg"}
        return self._aggregate(value["agg"], rest, field, depth)

    def _aggregate(self, name: Any, check: Any, field: str, depth: int) -> Check:
        if name not in AGGREGATES:
            raise TemplateError(
                f"{field}: unknown aggregate {shown(str(name))}; the aggregates are"
                f" {', '.join(AGGREGATES)}.",
                field=field,
            )
        return Aggregate(AGGREGATES[name], self._check(check, field, depth + 1))

    def _compare(self, name: str, operand: Any, field: str) -> Check:
        if name in ("match", "like") and isinstance(operand, str):
            self._count_pattern(operand, field)
        if name == "match" and isinstance(operand, str):
            node: Node = Const(operand)
        else:
            node = compile_node(operand, field, self._compilation)
        try:
            return Compare(name, check_operand(name, node))
        except TemplateError as error:
            raise located(error, field) from None

    def _count_pattern(self, pattern: str, field: str) -> None:
        self._pattern_room -= len(pattern)
        if self._pattern_room < 0:
            raise TemplateError(
                f"{field}: the patterns of a condition may have at most {MAX_PATTERNS} characters"
                " in total.",
                field=field,
            )


def _check_depth(field: str, depth: int) -> None:
    if depth > MAX_CONDITION_DEPTH:
        raise TemplateError(
            f"{field}: nested deeper than {MAX_CONDITION_DEPTH} levels.", field=field
        )
