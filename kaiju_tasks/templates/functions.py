"""The pure functions that a template can call."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.moments import as_date, as_datetime
from kaiju_tasks.templates.scope import Scope
from kaiju_tasks.templates.values import INTEGERS, is_number, text_of, type_name, weight

__all__ = ["FUNCTIONS", "Function"]

MANY = 1_000
MAX_INT_TEXT = 40


@dataclass(frozen=True, slots=True)
class Function:
    """A named function with the number of arguments that it takes.

    :param call: receives the arguments and the scope, whose bounds apply
    """

    name: str
    least: int
    most: int
    call: Callable[[list[Any], Scope], Any]

    def __call__(self, args: list[Any], scope: Scope) -> Any:
        """Call the function.

        :raises TemplateError: an argument has the wrong type, or a bound is exceeded
        """
        scope.work(1 + sum(map(weight, args)))
        try:
            return self.call(args, scope)
        except TemplateError as error:
            raise TemplateError(f"{self.name}: {error.message}") from None


def _wrong(expected: str, value: Any) -> TemplateError:
    return TemplateError(f"needs {expected}, but got {type_name(value)}.")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong("a text", value)
    return value


def _number(value: Any) -> Any:
    if not is_number(value):
        raise _wrong("finite numbers", value)
    return _in_range(value)


def _in_range(value: Any) -> Any:
    if not is_number(value) or (isinstance(value, int) and value not in INTEGERS):
        raise TemplateError("integers must fit into 64 bits, other numbers must be finite.")
    return value


def _items(args: list[Any]) -> list[Any]:
    return args[0] if len(args) == 1 and isinstance(args[0], list) else args


def _str(args: list[Any], scope: Scope) -> str:
    return text_of(args[0], scope)


def _int(args: list[Any], scope: Scope) -> int:
    value = args[0]
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        digits = value.strip(" \t\r\n")
        unsigned = digits[1:] if digits[:1] in ("+", "-") else digits
        if len(digits) > MAX_INT_TEXT or not (unsigned.isascii() and unsigned.isdigit()):
            raise TemplateError(
                f"needs a text that is a whole number of at most {MAX_INT_TEXT} digits."
            )
        return int(_in_range(int(digits)))
    if not is_number(value):
        raise _wrong("a number or a text", value)
    return int(_in_range(int(value)))


def _len(args: list[Any], scope: Scope) -> int:
    if not isinstance(args[0], (str, list, dict)):
        raise _wrong("a text, a list or an object", args[0])
    return len(args[0])


def _bool(args: list[Any], scope: Scope) -> bool:
    return bool(args[0])


def _not(args: list[Any], scope: Scope) -> bool:
    return not args[0]


def _sum(args: list[Any], scope: Scope) -> Any:
    total: int | float = 0
    for arg in args:
        for item in arg if isinstance(arg, list) else (arg,):
            total = _in_range(total + _number(item))
    return total


def _diff(args: list[Any], scope: Scope) -> Any:
    return _in_range(_number(args[0]) - _number(args[1]))


def _comparable(args: list[Any]) -> list[Any]:
    items = _items(args)
    if not items:
        raise TemplateError("needs at least one value, but got an empty list.")
    for item in items:
        if not isinstance(item, str) and not is_number(item):
            raise _wrong("numbers only or texts only", item)
    for a, b in pairwise(items):
        if isinstance(a, str) is not isinstance(b, str):
            raise TemplateError("needs numbers only or texts only, but got both.")
    return items


def _min(args: list[Any], scope: Scope) -> Any:
    return min(_comparable(args))


def _max(args: list[Any], scope: Scope) -> Any:
    return max(_comparable(args))


def _all(args: list[Any], scope: Scope) -> bool:
    return all(_items(args))


def _any(args: list[Any], scope: Scope) -> bool:
    return any(_items(args))


def _end(position: int) -> Callable[[list[Any], Scope], Any]:
    def end(args: list[Any], scope: Scope) -> Any:
        value = args[0]
        if not isinstance(value, (str, list)):
            raise _wrong("a list or a text", value)
        if not value:
            raise TemplateError("needs at least one item, but got none.")
        return value[position]

    return end


def _changed(change: Callable[[str], str]) -> Callable[[list[Any], Scope], str]:
    def changed(args: list[Any], scope: Scope) -> str:
        text = _text(args[0])
        scope.room_for(len(text))
        return change(text)

    return changed


def _split(args: list[Any], scope: Scope) -> list[str]:
    text = _text(args[0])
    separator = _text(args[1]) if len(args) == 2 else ","
    if not separator:
        raise TemplateError("needs a separator that is not empty.")
    scope.work(1 + text.count(separator))
    return text.split(separator)


def _join(args: list[Any], scope: Scope) -> str:
    items = args[0]
    if not isinstance(items, list):
        raise _wrong("a list", items)
    separator = _text(args[1]) if len(args) == 2 else ","
    length = max(0, len(items) - 1) * len(separator)
    scope.room_for(length)
    texts = []
    for item in items:
        text = text_of(item, scope)
        length += len(text)
        scope.work(weight(text))
        scope.room_for(length)
        texts.append(text)
    return separator.join(texts)


def _date(args: list[Any], scope: Scope) -> str:
    return as_date(*args)


def _datetime(args: list[Any], scope: Scope) -> str:
    return as_datetime(*args)


FUNCTIONS = {
    function.name: function
    for function in (
        Function("str", 1, 1, _str),
        Function("int", 1, 1, _int),
        Function("len", 1, 1, _len),
        Function("bool", 1, 1, _bool),
        Function("not", 1, 1, _not),
        Function("sum", 1, MANY, _sum),
        Function("diff", 2, 2, _diff),
        Function("min", 1, MANY, _min),
        Function("max", 1, MANY, _max),
        Function("all", 1, MANY, _all),
        Function("any", 1, MANY, _any),
        Function("first", 1, 1, _end(0)),
        Function("last", 1, 1, _end(-1)),
        Function("upper", 1, 1, _changed(str.upper)),
        Function("lower", 1, 1, _changed(str.lower)),
        Function("capitalize", 1, 1, _changed(str.capitalize)),
        Function("split", 1, 2, _split),
        Function("join", 1, 2, _join),
        Function("date", 1, 2, _date),
        Function("datetime", 1, 2, _datetime),
    )
}
