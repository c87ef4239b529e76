"""The methods that can be called, with their types."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.errors import Conflict, Forbidden, KaijuError, MethodNotFound, Unavailable
from kaiju_tasks.rights import Access, Principal, Verb, may_call
from kaiju_tasks.rpc.convert import convert, convert_json
from kaiju_tasks.rpc.edge import NAME_LENGTH_MAX
from kaiju_tasks.rpc.effort import count_as_useful, seconds_spent
from kaiju_tasks.rpc.held import Held
from kaiju_tasks.rpc.share import Share

__all__ = ["Handler", "Method", "NoParams", "Registry"]

READS = 4
READS_EACH = 1
"""How many reads are carried out at once, for all principals and for each."""
BATCHES_BYTES = 96 * 1024 * 1024
BATCHES_BYTES_EACH = 40 * 1024 * 1024
"""The bytes of answers that are kept until their batches are complete."""
LARGE_READ_SECONDS = 0.005
READ_RESTS, LARGE_READ_RESTS = 2.0, 9.0
REST_SECONDS_MAX = 2.0
"""How long a principal waits between two reads, as a multiple of what the first one has used of the
event loop: after a large read, it leaves nine tenths of the loop to others."""
NO_EFFECT = (None, Verb.READ, Verb.SERVE)
"""What these methods do, executors and readers do all the time."""
_NO_TURN = nullcontext()

Handler = Callable[[Any, Any], Awaitable[Any]]


class NoParams(Struct, forbid_unknown_fields=True):
    """The params of a method without parameters."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method.

    :param handler: `async def(caller, params)`; `params` is an instance of the type `params`
    :param access: who may call it
    :param waits: whether it waits for something that others do
    :param has_effect: whether it changes something
    :param reads: whether it reads, and waits for nothing but the database
    :param carries_raw: parts of `params` stay bytes (`msgspec.Raw`)
    :param errors: the domain errors that it can answer with
    """

    name: str
    handler: Handler
    access: Access
    params: type[Struct]
    result: Any
    doc: str
    errors: tuple[type[KaijuError], ...]
    carries_raw: bool
    waits: bool
    has_effect: bool
    reads: bool

    def read(self, params: Any, raw: Callable[[], Raw | bytes]) -> Struct:
        """Convert the params of a call.

        :param params: the params as plain data
        :param raw: returns the params as bytes, for a method with `carries_raw`
        :raises InvalidParams: a parameter is missing, unknown or invalid
        """
        return (
            convert_json(raw(), self.params) if self.carries_raw else convert(params, self.params)
        )


class Registry:
    """Methods by name, in the order in which they were added.

    :ivar batches: what the answers to incomplete batches occupy

    :param principal_of: returns the principal on whose behalf a caller calls
    :param is_gone: whether nobody reads what a caller is answered
    """

    def __init__(
        self,
        principal_of: Callable[[Any], Principal],
        is_gone: Callable[[Any], bool] = lambda caller: False,
    ) -> None:
        self._principal_of = principal_of
        self._is_gone = is_gone
        self._methods: dict[str, Method] = {}
        self._reads = Share(READS, READS_EACH)
        self.batches = Held(BATCHES_BYTES, BATCHES_BYTES_EACH)

    def add(
        self,
        name: str,
        handler: Handler,
        *,
        access: Access,
        params: type[Struct] = NoParams,
        result: Any = Any,
        doc: str = "",
        errors: Sequence[type[KaijuError]] = (),
        tolerant: bool = False,
        waits: bool = False,
        has_effect: bool | None = None,
    ) -> None:
        """Add a method.

        :param name: unique; by convention `prefix.verb`
        :param handler: `async def(caller, params: <params>) -> <result>`
        :param access: who may call it; all others are refused
        :param params: a struct; its fields are the named parameters
        :param result: type of the result
        :param doc: description whose first line is the summary; default: the handler's docstring
        :param errors: the domain errors that it can answer with
        :param tolerant: ignore unknown parameters, for protocols that grow
        :param waits: whether it waits for something that others do
        :param has_effect: whether it changes something; default: whether its verb says so
        :raises ValueError: a method with this name exists
        :raises TypeError: `params` handles unknown parameters differently from `tolerant`
        """
        if name in self._methods:
            raise ValueError(f"the method {name} is already registered")
        if tolerant == params.__struct_config__.forbid_unknown_fields:
            raise TypeError(
                f"{params.__name__}, the params of {name}, must have forbid_unknown_fields"
                f"={not tolerant}, or pass tolerant={not tolerant}"
            )
        self._methods[name] = Method(
            name=name,
            handler=handler,
            access=access,
            params=params,
            result=result,
            doc=cleandoc(doc or handler.__doc__ or ""),
            errors=tuple(errors),
            carries_raw=_carries_raw(params),
            waits=waits,
            has_effect=access.verb not in NO_EFFECT if has_effect is None else has_effect,
            reads=access.verb is Verb.READ and not waits,
        )

    def find(self, name: str) -> Method:
        """Get a method.

        :raises MethodNotFound: no method has this name
        """
        method = self._methods.get(name)
        if method is None:
            raise MethodNotFound(
                f"there is no method `{name[:NAME_LENGTH_MAX]}`",
                method=name[:NAME_LENGTH_MAX],
            )
        return method

    def allows(self, caller: Any, method: Method) -> bool:
        """Whether a caller may call a method. On which objects, the method decides."""
        return may_call(self._principal_of(caller), method.access)

    def find_for(self, caller: Any, name: str) -> Method:
        """Get a method that a caller may call.

        :raises MethodNotFound: no method has this name
        :raises Forbidden: the caller may not call it
        """
        method = self._methods.get(name) or self.find(name)
        principal = self._principal_of(caller)
        if not (principal.kind is None or may_call(principal, method.access)):
            raise Forbidden(f"your token does not allow to call `{name}`", method=name)
        return method

    def reading(self, caller: Any, method: Method) -> AbstractAsyncContextManager[None]:
        """Wait for the turn of a read, and keep it during the block. Reads hold much memory until
        their results are encoded, so few are carried out at once, and one of each principal. A
        method that waits for something itself needs no turn."""
        if not method.reads:
            return _NO_TURN
        return self._turn_of(caller)

    def client(self, caller: Any) -> str:
        """Whose reads are counted together."""
        return self._principal_of(caller).id or str(id(caller))

    @asynccontextmanager
    async def _turn_of(self, caller: Any) -> AsyncIterator[None]:
        client = self.client(caller)
        await self._reads.take(client, 1)
        if self._is_gone(caller):
            self._reads.give(client, 1)
            raise Unavailable("the connection of the caller has ended")
        spent = seconds_spent()
        try:
            yield
        finally:
            seconds = seconds_spent() - spent
            rests = READ_RESTS if seconds < LARGE_READ_SECONDS else LARGE_READ_RESTS
            rest = min(rests * seconds, REST_SECONDS_MAX)
            asyncio.get_running_loop().call_later(rest, self._reads.give, client, 1)

    async def call(self, caller: Any, method: Method, params: Any) -> Any:
        """Call a method.

        :raises Forbidden: the caller lost the right to read while its call was carried out
        :raises Unavailable: it has other rights than at the begin of a read, which may show more
        """
        checked = method.access.verb is Verb.READ
        principal = self._principal_of(caller) if checked else None
        try:
            result = await method.handler(caller, params)
        except Conflict:
            count_as_useful()
            raise
        if method.has_effect:
            count_as_useful()
        if checked and self._principal_of(caller) is not principal:
            self.find_for(caller, method.name)
            raise Unavailable("your rights have changed during this call: try again")
        return result

    def __contains__(self, name: str) -> bool:
        return name in self._methods

    def __iter__(self) -> Iterator[Method]:
        return iter(self._methods.values())

    def __len__(self) -> int:
        return len(self._methods)


@cache
def _carries_raw(type_: type[Struct]) -> bool:
    left: list[Any] = [msgspec.inspect.type_info(type_)]
    seen: set[int] = set()
    while left:
        info = left.pop()
        if isinstance(info, msgspec.inspect.RawType):
            return True
        if isinstance(info, msgspec.inspect.Type | msgspec.inspect.Field) and id(info) not in seen:
            seen.add(id(info))
            left.extend(getattr(info, name) for name in info.__struct_fields__)
        elif isinstance(info, tuple):
            left.extend(info)
    return False
