"""Registers the commands of an application by name."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Any, TypeVar, overload

import msgspec
from msgspec.structs import replace

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.batch_signature import BatchSignature
from kaiju_tasks.executor.middleware import Middleware, refuse_middleware
from kaiju_tasks.executor.offer import Offer
from kaiju_tasks.executor.params import Signature
from kaiju_tasks.protocol import CommandInfo, Declaration
from kaiju_tasks.types import HOOKS, NewTask, TaskCommand

__all__ = ["Command", "CommandKind", "Executor", "Lifespan"]

BATCH_MAX = 10_000
BATCH_WAIT_SECONDS, BATCH_WAIT_MAX = 0.1, 60.0

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Middleware)


class CommandKind(Enum):
    """Where a command runs."""

    LOOP = "loop"
    THREAD = "thread"
    PROCESS = "process"


class Command:
    """One registered command.

    :param process: whether each call runs in a separate process
    :param examples: see `Executor.command`
    :param batch: see `Executor.command`
    :param wait: see `Executor.command`
    :ivar in_thread: whether the function is a `def` that runs in a thread
    :ivar needs_place: whether each call occupies a thread or a process
    """

    __slots__ = (
        "batch",
        "doc",
        "examples",
        "function",
        "in_thread",
        "kind",
        "method",
        "needs_place",
        "signature",
        "wait",
    )

    def __init__(
        self,
        method: str,
        function: Callable[..., Any],
        *,
        process: bool = False,
        examples: Sequence[Mapping[str, Any]] = (),
        batch: int | None = None,
        wait: float | None = None,
    ) -> None:
        self.method = method
        self.function = function
        self.kind = _kind(function, process)
        self.batch = batch
        self.wait = BATCH_WAIT_SECONDS if wait is None else float(wait)
        self.in_thread = self.kind is CommandKind.THREAD
        self.needs_place = self.kind is not CommandKind.LOOP and batch is None
        self.signature: Signature | BatchSignature
        if batch is None:
            self.signature = Signature(function)
        else:
            self.signature = BatchSignature(function)
        self.doc = inspect.getdoc(function) or ""
        self.examples = [self._example(example) for example in examples]
        if self.kind is CommandKind.PROCESS:
            refuse_unimportable(function)

    def info(self, app_name: str | None = None) -> CommandInfo:
        """The description of the command that is announced to managers.

        :param app_name: the stream of the command, if the process serves several streams
        """
        return CommandInfo(
            self.method,
            self.signature.schema(),
            self.doc,
            app_name,
            self.signature.result_schema(),
            self.examples,
        )

    def _example(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """:raises ValueError: it is not an object with `params` that fit, and perhaps `result`"""
        try:
            known: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(example)))
            if not {"params"} <= known.keys() <= {"params", "result"}:
                raise ValueError("it must have `params`, and may have `result`")
            self.signature.arguments(known["params"])
        except (InvalidParams, TypeError, ValueError) as error:
            raise ValueError(f"an example of `{self.method}` is wrong: {error}") from error
        return known


class Executor:
    """The commands of a stream and their shared state.

    :param app_name: the stream that the executor serves, 1 to 255 characters
    :param lifespan: called with this executor; returns an async context manager that stays open
        while the executor runs and whose value is `Context.state`
    :param data: JSON values that templates read as `[executor.…]`
    :param version: version of the application, 1 to 255 characters, for people: `executors.list`
        shows it in place of the version of kaiju_tasks
    :raises ValueError: `app_name` or `version` is not valid
    """

    def __init__(
        self,
        app_name: str,
        *,
        lifespan: "Lifespan | None" = None,
        data: Mapping[str, Any] | None = None,
        version: str | None = None,
    ) -> None:
        if not isinstance(app_name, str) or not 1 <= len(app_name) <= 255:
            raise ValueError(
                f"`app_name` must be a string of 1 to 255 characters, not {app_name!r}"
            )
        if version is not None and not (isinstance(version, str) and 1 <= len(version) <= 255):
            raise ValueError(f"`version` must be a string of 1 to 255 characters, not {version!r}")
        self.app_name = app_name
        self.version = version
        self.lifespan = lifespan
        self.data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(data or {}))
        self.state: Any = None
        self.shared: dict[Callable[..., Any], Any] = {}
        self.offer = Offer()
        self._commands: dict[str, Command] = {}
        self._middlewares: list[Middleware] = []
        self._schedules: dict[str, Declaration] = {}

    @property
    def commands(self) -> Mapping[str, Command]:
        """The registered commands, by method name."""
        return self._commands

    @property
    def middlewares(self) -> Sequence[Middleware]:
        """What runs around every stage, the outermost first."""
        return self._middlewares

    def middleware(self, function: M) -> M:
        """Run the decorated `async def` around every stage of this executor.

        It gets the context of the stage and a function, `call_next`. `await call_next()` runs the
        command and returns its value; what the middleware returns is the result of the stage. An
        exception fails the stage as one of the command does. The one that is registered first is
        the outermost. It is called when the parameters have been checked. The function is
        returned unchanged.

        :raises TypeError: it is not an `async def` with two parameters
        """
        refuse_middleware(function)
        self._middlewares.append(function)
        return function

    @property
    def schedules(self) -> Sequence[Declaration]:
        """The schedules that are declared to managers."""
        return list(self._schedules.values())

    def schedule(
        self,
        name: str,
        *,
        commands: Sequence[str | TaskCommand | Mapping[str, Any]],
        cron: str | None = None,
        every: float | None = None,
        version: str | int | None = None,
        **fields: Any,
    ) -> None:
        """Declare a schedule beside the code: when the executor connects, the manager ensures that
        a task exists with this definition. Its owner is the principal of the executor's token,
        whose scope must grant the verb `create` and the methods.

        A definition with a newer version replaces an older one. With the same version, the task
        stays as it is, also if somebody has changed it.

        :param name: id of the task
        :param commands: names of methods, or commands
        :param cron: the times of its runs; or `every`
        :param every: seconds between its runs
        :param version: of this definition; by default, the version of the executor. Versions are
            compared by their numbers: 1.10 is newer than 1.9
        :param fields: other fields of a task, such as `timezone`, `kws` and `max_retries`; the
            stream is that of the executor unless `app_name` is given
        :raises ValueError: the name is declared twice, or a field is missing, unknown or wrong
        """
        if name in self._schedules:
            raise ValueError(f"the schedule `{name}` is declared twice")
        if (cron is None) == (every is None):
            raise ValueError(f"the schedule `{name}` needs either `cron` or `every`")
        given = [{"method": one} if isinstance(one, str) else one for one in commands]
        task = {"app_name": self.app_name, **fields, "id": name, "commands": given}
        task |= {"every": every} if cron is None else {"cron": cron}
        try:
            msgspec.convert(plain := msgspec.to_builtins(task), NewTask)
        except (msgspec.ValidationError, TypeError) as error:
            raise ValueError(f"the schedule `{name}` is wrong: {error}") from None
        chosen = self.version if version is None else version
        declaration = Declaration(plain, "" if chosen is None else str(chosen))
        refuse_unencodable(name, {**plain, "version": declaration.version})
        self._schedules[name] = declaration

    def announced(self, app_name: str | None = None) -> list[CommandInfo]:
        """The commands that are announced to managers.

        :param app_name: the stream of the commands, if the process serves several streams
        """
        own = [command.info(app_name) for command in self._commands.values()]
        others = [replace(info, app_name=app_name) for info in self.offer.commands]
        return own + others

    def find(self, method: str) -> Command | None:
        """The command of a method name, or None."""
        return self._commands.get(method)

    @overload
    def command(self, name: F, /) -> F: ...

    @overload
    def command(
        self,
        name: str | None = None,
        /,
        *,
        process: bool = False,
        examples: Sequence[Mapping[str, Any]] = (),
        batch: int | None = None,
        wait: float | None = None,
    ) -> Callable[[F], F]: ...

    def command(
        self,
        name: Any = None,
        /,
        *,
        process: bool = False,
        examples: Sequence[Mapping[str, Any]] = (),
        batch: int | None = None,
        wait: float | None = None,
    ) -> Any:
        """Register the decorated function as a command. The function is returned unchanged.

        :param name: the method name; by default, the name of the function
        :param process: whether each call runs in a separate process, which requires a top-level
            function of an importable module
        :param examples: calls to announce, such as `{"params": {"a": 1}, "result": 2}`; `result`
            is optional
        :param batch: the most stages that one call of the function runs, 1 to 10,000. It then has
            one parameter, `list[BatchCall[P]]`, and returns a list with the outcome of each call:
            a result, or an exception, which fails only that stage. `P` is the type of the
            parameters of each call: a struct, dataclass, TypedDict or dict
        :param wait: with `batch`: how long the first stage waits for others, in seconds, 0 to 60;
            0.1 by default
        :raises ValueError: the name is taken, reserved or not valid, an example does not fit the
            parameters, the function cannot be imported by another process, or `batch` or `wait` is
            out of range or used in a process
        :raises TypeError: it is no function, or has parameters that cannot be passed by name, or
            not the parameter of a function with `batch`
        """
        if callable(name):
            return self._register(None, name)
        refuse_batch(batch, wait, process=process)
        return lambda function: self._register(
            name, function, process=process, examples=examples, batch=batch, wait=wait
        )

    def _register(
        self,
        name: str | None,
        function: F,
        **options: Any,
    ) -> F:
        if not hasattr(function, "__qualname__"):
            raise TypeError(
                f"a command must be a function or a method, not {function!r}: write a `def` or an "
                "`async def` that calls it"
            )
        method = function.__name__ if name is None else name
        refuse_name(method)
        if method in self._commands:
            raise ValueError(f"`{method}` is registered twice on the executor `{self.app_name}`")
        self._commands[method] = Command(method, function, **options)
        return function


Lifespan = Callable[[Executor], AbstractAsyncContextManager[Any]]


def refuse_unencodable(name: str, fields: Mapping[str, Any]) -> None:
    """:raises ValueError: a field of this schedule cannot be sent as JSON"""
    for field, value in fields.items():
        try:
            msgspec.json.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(
                f"the schedule {name!a:.300} is wrong: `{field}` cannot be written as JSON: {error}"
            ) from None


def refuse_name(method: str) -> None:
    """:raises ValueError: a command must not have this name"""
    if method in HOOKS:
        raise ValueError(f"`{method}` is the name of a hook: choose another name")
    if not 1 <= len(method) <= 255 or any(c.isspace() or not c.isprintable() for c in method):
        raise ValueError(
            f"a method name must have 1 to 255 printable characters and no spaces, not {method!r}"
        )


def refuse_batch(batch: int | None, wait: float | None, *, process: bool) -> None:
    """:raises ValueError: a command cannot have this batch"""
    if batch is None:
        if wait is not None:
            raise ValueError("`wait` needs `batch`: it is how long a batch waits for more calls")
        return
    if type(batch) is not int or not 1 <= batch <= BATCH_MAX:
        raise ValueError(f"`batch` must be a whole number from 1 to {BATCH_MAX:,}, not {batch!r}")
    if wait is not None and not 0 <= wait <= BATCH_WAIT_MAX:
        raise ValueError(f"`wait` must be from 0 to {BATCH_WAIT_MAX:g} seconds, not {wait!r}")
    if process:
        raise ValueError("a command with process=True runs one call: it cannot have `batch`")


def refuse_unimportable(function: Callable[..., Any]) -> None:
    """:raises ValueError: another process cannot import this function"""
    if "<" in function.__qualname__ or function.__module__ == "__main__":
        raise ValueError(
            f"the command {function.__qualname__} with process=True must be a top-level function "
            "of an importable module"
        )


def _kind(function: Callable[..., Any], process: bool) -> CommandKind:
    if process:
        return CommandKind.PROCESS
    return CommandKind.LOOP if inspect.iscoroutinefunction(function) else CommandKind.THREAD
