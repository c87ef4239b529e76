"""Opens what commands depend on, and closes it again: for each stage, or once for the process."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from kaiju_tasks.executor.context import Context

__all__ = ["Depends", "Provider", "dependency_of", "is_context", "open_all", "process_wide"]

Provider = Callable[..., Any]
Opened = dict[Provider, Any]


class Depends:
    """What a parameter of a command, or of another provider, gets.

    `db: Annotated[Session, Depends(session)]` or `db: Session = Depends(session)`.

    :param provider: called with its own dependencies and, for a stage, with a parameter that is
        annotated `Context`. A generator or async generator yields the value once, and is continued
        when the stage has ended. An async context manager is entered, and what is awaitable is
        awaited. It runs on the event loop and must not block
    :param scope: `stage`: opened for each stage and closed when its code has ended; `process`:
        opened when the executor starts and closed when it ends
    :raises TypeError: the provider has other parameters, or one for the whole process depends on
        one for a stage
    """

    __slots__ = ("context_name", "dependencies", "provider", "scope")

    def __init__(self, provider: Provider, *, scope: Literal["stage", "process"] = "stage") -> None:
        if scope not in ("stage", "process"):
            raise ValueError(f"`scope` must be 'stage' or 'process', not {scope!r}")
        self.provider = provider
        self.scope = scope
        self.context_name: str | None = None
        self.dependencies: dict[str, Depends] = {}
        for parameter in inspect.signature(provider).parameters.values():
            self._take(parameter, get_type_hints(provider, include_extras=True))

    def _take(self, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> None:
        name, hint = parameter.name, hints.get(parameter.name, Any)
        dependency = dependency_of(hint, parameter.default)
        if dependency is not None:
            if self.scope == "process" and dependency.scope == "stage":
                raise TypeError(
                    f"{_name(self.provider)} is opened for the process and cannot depend on "
                    f"{_name(dependency.provider)}, which is opened for each stage"
                )
            self.dependencies[name] = dependency
        elif is_context(hint) and self.scope == "stage":
            self.context_name = name
        elif parameter.default is parameter.empty:
            raise TypeError(
                f"the provider {_name(self.provider)} gets no value for its parameter `{name}`: "
                "annotate it with Depends or, for a stage, with Context"
            )


def dependency_of(hint: Any, default: Any) -> Depends | None:
    """The dependency that a parameter is annotated with, or has as its default."""
    if isinstance(default, Depends):
        return default
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((extra for extra in extras if isinstance(extra, Depends)), None)


def is_context(hint: Any) -> bool:
    """Whether a parameter is annotated `Context`."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint is Context or Context in get_args(hint)


def process_wide(dependencies: Mapping[str, Depends]) -> Iterator[Depends]:
    """Those that are opened for the process, those that others depend on included."""
    for one in dependencies.values():
        yield from process_wide(one.dependencies)
        if one.scope == "process":
            yield one


async def open_all(
    stack: AsyncExitStack,
    dependencies: Mapping[str, Depends],
    context: Context | None,
    opened: Opened,
) -> dict[str, Any]:
    """Open dependencies, each provider once.

    :param stack: closes them again, the last one first
    :param opened: the values that are open already, by provider; it is extended
    :returns: the values by the names of the parameters
    """
    values = {}
    for name, one in dependencies.items():
        if one.provider not in opened:
            try:
                opened[one.provider] = await _open(stack, one, context, opened)
            except Exception as error:
                error.add_note(f"`{name}` could not be opened by {_name(one.provider)}")
                raise
        values[name] = opened[one.provider]
    return values


async def _open(
    stack: AsyncExitStack, one: Depends, context: Context | None, opened: Opened
) -> Any:
    arguments = await open_all(stack, one.dependencies, context, opened)
    if one.context_name is not None:
        arguments[one.context_name] = context
    provider = one.provider
    if inspect.isasyncgenfunction(provider):
        return await stack.enter_async_context(asynccontextmanager(provider)(**arguments))
    if inspect.isgeneratorfunction(provider):
        return stack.enter_context(contextmanager(provider)(**arguments))
    value = provider(**arguments)
    if hasattr(type(value), "__aenter__"):
        return await stack.enter_async_context(value)
    return await value if inspect.isawaitable(value) else value


def _name(provider: Provider) -> str:
    return getattr(provider, "__qualname__", repr(provider))
