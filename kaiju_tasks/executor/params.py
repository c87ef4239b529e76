"""Checks the parameters of a command against its signature, and describes them as JSON Schema."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Union, get_type_hints

import msgspec
from msgspec import UNSET, UnsetType

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.dependencies import Depends, dependency_of, is_context
from kaiju_tasks.rpc.convert import explain, missing_field

__all__ = ["Signature", "hints_of", "take_definition"]

DEFINITIONS = "#/$defs/"

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Signature:
    """The parameters of a function.

    :param function: a function whose parameters can all be passed by name
    :raises TypeError: the function has `*args`, positional-only parameters, or type hints that
        cannot be resolved
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._hints = hints_of(function)
        self._defaults: dict[str, Any] = {}
        self.context_name: str | None = None
        self.dependencies: dict[str, Depends] = {}
        self._open: Any = UNSET
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for parameter in inspect.signature(function).parameters.values():
            if (field := self._take(function, parameter)) is not None:
                fields.append(field)
        self._names = tuple(field[0] for field in fields)
        self._struct = msgspec.defstruct(
            "Params", fields, kw_only=True, forbid_unknown_fields=self._open is UNSET
        )

    def _take(self, function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
        hint = self._hints.get(parameter.name, Any)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            self._open = hint
            return None
        if parameter.kind not in _NAMED:
            raise TypeError(
                f"command {function.__qualname__}: the parameter `{parameter.name}` cannot be "
                "passed by name: commands take named parameters only"
            )
        if (dependency := dependency_of(hint, parameter.default)) is not None:
            self.dependencies[parameter.name] = dependency
            return None
        if is_context(hint):
            self.context_name = parameter.name
            return None
        if parameter.default is inspect.Parameter.empty:
            return (parameter.name, hint)
        self._defaults[parameter.name] = parameter.default
        return (parameter.name, Union[hint, UnsetType], UNSET)  # noqa: UP007

    def arguments(self, params: Any) -> dict[str, Any]:
        """Check the parameters of a call.

        :param params: a JSON object
        :returns: the keyword arguments of the call
        :raises InvalidParams: a parameter is missing, unknown or has a wrong type
        """
        if not isinstance(params, dict):
            raise InvalidParams("`params` must be an object of named parameters", field="params")
        if not params and not self._names:
            return {}
        try:
            checked = msgspec.convert(params, self._struct)
        except msgspec.ValidationError as error:
            raise self._explain(error, params) from None
        arguments = {
            name: value for name in self._names if (value := getattr(checked, name)) is not UNSET
        }
        if self._open is not UNSET:
            arguments.update(self._others(params))
        return arguments

    def _others(self, params: dict[str, Any]) -> dict[str, Any]:
        others: dict[str, Any] = {}
        for name, value in params.items():
            if name in self._names:
                continue
            if name == self.context_name or name in self.dependencies:
                raise InvalidParams(f"`{name}` is set by the executor: remove it", field=name)
            try:
                others[name] = msgspec.convert(value, self._open)
            except msgspec.ValidationError as error:
                raise explain(error, value, self._open, prefix=name) from None
        return others

    def _explain(self, error: msgspec.ValidationError, params: dict[str, Any]) -> InvalidParams:
        # msgspec does not name every missing or unknown field, so compare with the signature.
        missing = [n for n in self._names if n not in params and n not in self._defaults]
        unknown = [n for n in params if n not in self._names] if self._open is UNSET else []
        if unknown:
            return _unknown(unknown[0], self._names)
        if missing:
            return missing_field(missing[0], self._struct, "")
        return explain(error, params, self._struct)

    def result_schema(self) -> dict[str, Any]:
        """The JSON Schema of the result, from the return annotation; {} if there is none."""
        hint = self._hints.get("return", Any)
        if hint is Any:
            return {}
        try:
            return msgspec.json.schema(hint)
        except TypeError:
            return {}

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters; {} if a type has none."""
        try:
            schema = msgspec.json.schema(self._struct)
        except TypeError:
            return {}
        body, definitions = take_definition(schema)
        for name, default in self._defaults.items():
            try:
                body["properties"][name]["default"] = msgspec.to_builtins(default)
            except (TypeError, ValueError):
                continue
        return body | ({"$defs": definitions} if definitions else {})


def take_definition(schema: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the definition out that a schema refers to. Its name depends on the others: another
    type may have the same one.

    :param schema: `{"$ref": "#/$defs/NAME", "$defs": {…}}`
    :returns: the definition without its title, and those that remain, which may refer to it
    """
    definitions = schema["$defs"]
    name = schema["$ref"].removeprefix(DEFINITIONS)
    body: dict[str, Any] = {**definitions[name]}
    body.pop("title", None)
    others = {key: value for key, value in definitions.items() if key != name}
    if _refers({"body": body, **others}, schema["$ref"]):
        others = definitions
    return body, others


def _refers(value: Any, reference: str) -> bool:
    if isinstance(value, dict):
        return value.get("$ref") == reference or any(
            _refers(one, reference) for one in value.values()
        )
    return isinstance(value, list) and any(_refers(one, reference) for one in value)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of a command.

    :raises TypeError: they cannot be resolved
    """
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise TypeError(
            f"command {function.__qualname__}: the type hints cannot be resolved: {error}"
        ) from error


def _unknown(name: str, known: tuple[str, ...]) -> InvalidParams:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else _choices(known)
    return InvalidParams(f"`{name}` is not a parameter of this command: {hint}", field=name)


def _choices(known: tuple[str, ...]) -> str:
    if not known:
        return "it takes none"
    return "it takes " + ", ".join(f"`{name}`" for name in known)
