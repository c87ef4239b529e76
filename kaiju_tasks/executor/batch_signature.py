"""Checks the parameters of a batch command, whose function gets many calls at once."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, is_typeddict

import msgspec
from msgspec import Struct

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.context import Context
from kaiju_tasks.executor.params import hints_of, take_definition
from kaiju_tasks.rpc.convert import convert, unknown_field

__all__ = ["BATCH_PARAMS", "BatchCall", "BatchSignature"]

P = TypeVar("P")

BATCH_PARAMS = "params"


class BatchCall(Generic[P]):
    """The call of one stage, in the list that the function of a batch command gets.

    :ivar params: the checked parameters of the stage
    :ivar context: of the stage
    """

    __slots__ = ("context", "params")

    def __init__(self, params: P, context: Context) -> None:
        self.params = params
        self.context = context


class BatchSignature:
    """The parameters of each call: `P` of the function's parameter `list[BatchCall[P]]`.

    :raises TypeError: the function has another signature, or `P` is no struct, dataclass, TypedDict
        or dict
    """

    context_name: str | None = None
    dependencies: Mapping[str, Any] = {}

    def __init__(self, function: Callable[..., Any]) -> None:
        hints = hints_of(function)
        names = list(inspect.signature(function).parameters)
        hint = hints.get(names[0]) if len(names) == 1 else None
        (item,) = get_args(hint) if get_origin(hint) is list else (None,)
        if get_origin(item) is not BatchCall:
            raise TypeError(
                f"command {function.__qualname__}: a function with `batch` must have one "
                "parameter, of the type `list[BatchCall[P]]`, where `P` is the type of the "
                "parameters of each call"
            )
        (self._params,) = get_args(item)
        self._names = _names_of(self._params, function)
        self._result = hints.get("return", Any)

    def arguments(self, params: Any) -> dict[str, Any]:
        """Check the parameters of a call.

        :param params: a JSON object
        :returns: the checked parameters, as `params`
        :raises InvalidParams: a parameter is missing, unknown or has a wrong type
        """
        if not isinstance(params, dict):
            raise InvalidParams("`params` must be an object of named parameters", field="params")
        if self._names is not None:
            for name in params:
                if name not in self._names:
                    raise unknown_field(name, self._params, "")
        return {BATCH_PARAMS: convert(params, self._params)}

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters of a call; {} if a type has none."""
        schema = _schema_of(self._params)
        if "$ref" not in schema:
            return schema
        body, definitions = take_definition(schema)
        body["additionalProperties"] = False
        return body | ({"$defs": definitions} if definitions else {})

    def result_schema(self) -> dict[str, Any]:
        """The JSON Schema of the result of a call, from the return annotation, without exceptions;
        {} if there is none."""
        (hint,) = get_args(self._result) if get_origin(self._result) is list else (Any,)
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        results = tuple(kind for kind in kinds if not _is_exception(kind))
        if not results or Any in results:
            return {}
        return _schema_of(Union[results])  # noqa: UP007


def _schema_of(type_: Any) -> dict[str, Any]:
    try:
        return msgspec.json.schema(type_)
    except TypeError:
        return {}


def _is_exception(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


def _names_of(params: Any, function: Callable[..., Any]) -> frozenset[str] | None:
    """The names of the parameters; None if there may be any."""
    kind = get_origin(params) or params
    if kind is dict:
        return None
    if not (
        (isinstance(kind, type) and issubclass(kind, Struct))
        or is_dataclass(kind)
        or is_typeddict(kind)
    ):
        raise TypeError(
            f"command {function.__qualname__}: the parameters of a call must be a msgspec.Struct, "
            f"a dataclass, a TypedDict or a dict, not {params!r}"
        )
    return frozenset(field.encode_name for field in msgspec.inspect.type_info(params).fields)  # type: ignore[attr-defined]
