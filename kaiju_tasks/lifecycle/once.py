"""An attribute that is computed once."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["once"]

T = TypeVar("T")


class once(Generic[T]):
    """Computes an attribute when it is first read, and keeps it in the object. From then on, it is
    read like any other attribute, without a call. `functools.cached_property` does the same under a
    lock, which costs as much as a small computation.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, one: None, owner: type) -> Self: ...

    @overload
    def __get__(self, one: object, owner: type) -> T: ...

    def __get__(self, one: object | None, owner: type) -> Self | T:
        if one is None:
            return self
        value = one.__dict__[self._name] = self._compute(one)
        return value
