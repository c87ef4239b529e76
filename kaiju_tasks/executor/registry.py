"""An application's commands, by name."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Any, TypeVar, overload

import msgspec

from kaiju_tasks.executor.params import Signature
from kaiju_tasks.protocol import CommandInfo
from kaiju_tasks.types import HOOKS

__all__ = ["Command", "CommandKind", "Executor", "Lifespan"]

F = TypeVar("F", bound=Callable[..., Any])


class CommandKind(Enum):
    """Where a command runs."""

    LOOP = "loop"
    THREAD = "thread"
    PROCESS = "process"


class Command:
    """One registered method.

    :param process: run it in a process of its own
    """

    __slots__ = ("doc", "function", "kind", "method", "signature")

    def __init__(self, method: str, function: Callable[..., Any], *, process: bool = False) -> None:
        self.method = method
        self.function = function
        self.kind = _kind(function, process)
        self.signature = Signature(function)
        self.doc = inspect.getdoc(function) or ""
        if self.kind is CommandKind.PROCESS:
            refuse_unimportable(function)

    def info(self, app_name: str | None = None) -> CommandInfo:
        """What is announced of it.

        :param app_name: its stream, when the process serves others too
        """
        return CommandInfo(self.method, self.signature.schema(), self.doc, app_name)


class Executor:
    """A stream's commands, and what they share.

    :param app_name: the stream it serves, 1 to 255 characters
    :param lifespan: called with this executor, gives an async context manager that is held
        while it runs; what it yields is `Context.state`
    :param data: JSON values that templates read as `[executor.…]`
    """

    def __init__(
        self,
        app_name: str,
        *,
        lifespan: "Lifespan | None" = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(app_name, str) or not 1 <= len(app_name) <= 255:
            raise ValueError("`app_name` must be a text of 1 to 255 characters")
        self.app_name = app_name
        self.lifespan = lifespan
        self.data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(data or {}))
        self.state: Any = None
        self._commands: dict[str, Command] = {}

    @property
    def commands(self) -> Mapping[str, Command]:
        """Registered commands by method name."""
        return self._commands

    def find(self, method: str) -> Command | None:
        """The command of that name, if there is one."""
        return self._commands.get(method)

    @overload
    def command(self, name: F, /) -> F: ...

    @overload
    def command(self, name: str | None = None, /, *, process: bool = False) -> Callable[[F], F]: ...

    def command(self, name: Any = None, /, *, process: bool = False) -> Any:
        """Register the decorated function, which stays as it is.

        :param name: method name; the function's own by default
        :param process: run it in a process of its own (a top-level function of a module)
        :raises ValueError: the name is taken or reserved
        :raises TypeError: its signature cannot be served by named JSON parameters
        """
        if callable(name):
            return self._register(None, name, process=False)
        return lambda function: self._register(name, function, process=process)

    def _register(self, name: str | None, function: F, *, process: bool) -> F:
        method = function.__name__ if name is None else name
        refuse_name(method)
        if method in self._commands:
            raise ValueError(f"`{method}` is registered twice on the executor `{self.app_name}`")
        self._commands[method] = Command(method, function, process=process)
        return function


Lifespan = Callable[[Executor], AbstractAsyncContextManager[Any]]


def refuse_name(method: str) -> None:
    """Raise ValueError unless a command may have this name."""
    if method in HOOKS:
        raise ValueError(f"`{method}` is the name of a hook; choose another")
    if not 1 <= len(method) <= 255 or any(c.isspace() or not c.isprintable() for c in method):
        raise ValueError("a method name has 1 to 255 printable characters and no spaces")


def refuse_unimportable(function: Callable[..., Any]) -> None:
    """Raise ValueError unless another process can import this function."""
    if "<" in function.__qualname__ or function.__module__ == "__main__":
        raise ValueError(
            f"process command {function.__qualname__} must be a top-level function of an "
            "importable module, so that its process can import it"
        )


def _kind(function: Callable[..., Any], process: bool) -> CommandKind:
    if process:
        return CommandKind.PROCESS
    return CommandKind.LOOP if inspect.iscoroutinefunction(function) else CommandKind.THREAD
