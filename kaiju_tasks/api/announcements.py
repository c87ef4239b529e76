"""Checks of the data that executors announce, before it is stored.

The types of the protocol define only the shapes. This module defines the ranges.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from kaiju_tasks.errors import Forbidden, InvalidParams
from kaiju_tasks.protocol import ConnectParams, PingParams, SuspendExecutorParams
from kaiju_tasks.rights import Decision, Principal, Target, access, may
from kaiju_tasks.rpc import convert
from kaiju_tasks.types import MANAGER_APP, Id, Label

OWN_ID = "manager-"
"""The ids of the managers' own executors begin with it."""
Capacity = Annotated[int, Meta(ge=0, le=100_000)]
DATA_BYTES_MAX = 65_536
Attempt = Annotated[int, Meta(ge=0, lt=2**53)]
Pid = Annotated[int, Meta(ge=0, lt=2**31)]


class _Executor(Struct):
    id: Id
    app_names: Annotated[list[Id], Meta(max_length=1000)]
    capacity: Capacity
    host: Label | None
    pid: Pid | None
    version: Label | None
    instance: Label | None
    attempt: Attempt


class _Ping(Struct):
    id: Id
    capacity: Capacity | None


class _Leave(Struct):
    id: Id


def check_connect(params: ConnectParams, principal: Principal, *, system: bool) -> None:
    """
    :param principal: on whose behalf the executor connects
    :param system: the manager's own executor connects
    :raises InvalidParams: a field is invalid; `field` is its path
    :raises Forbidden: the stream or the id is reserved for the manager's own executor, or the
        principal may not serve the streams or take the id
    """
    _check(params, _Executor)
    if len(msgspec.json.encode(params.data)) > DATA_BYTES_MAX:
        raise InvalidParams(
            f"`data` must have at most {DATA_BYTES_MAX:,} bytes as JSON", field="data"
        )
    if MANAGER_APP in params.app_names and not system:
        raise Forbidden(
            f"`app_names`: only the manager itself serves the stream {MANAGER_APP!r}; "
            "give the executor another name",
            field="app_names",
        )
    if params.id.startswith(OWN_ID) and not system:
        raise Forbidden(f"`id`: ids that begin with {OWN_ID!r} are reserved", field="id")
    target = Target(id=params.id, streams=tuple(params.app_names))
    if may(principal, access.SERVE, target) is not Decision.ALLOWED:
        raise Forbidden(
            f"your token does not allow the executor {params.id!r:.100} on these streams",
            field="app_names" if principal.may_be(params.id) else "id",
        )


def check_ping(params: PingParams) -> None:
    """:raises InvalidParams: names the wrong field"""
    _check(params, _Ping)


def check_leave(params: SuspendExecutorParams) -> None:
    """:raises InvalidParams: names the wrong field"""
    _check(params, _Leave)


def _check(params: Any, type_: type[Struct]) -> None:
    convert({name: getattr(params, name) for name in type_.__struct_fields__}, type_)
