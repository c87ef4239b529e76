"""The caller of a method, and its connection."""

from collections.abc import Callable
from typing import Any

from kaiju_tasks.lifecycle import Cause
from kaiju_tasks.manager.events.hub import Subscription
from kaiju_tasks.manager.executors.sessions import Connection, Session
from kaiju_tasks.manager.writing.entries import Fence
from kaiju_tasks.rights import EVERYTHING, Principal
from kaiju_tasks.types import AuditRecord


class Caller:
    """The caller of a method.

    :param principal: on whose behalf it calls; it changes when the rights of an open connection do
    :param remote: address that it calls from
    :param connection: its WebSocket; None over HTTP
    :param system: whether it is the manager's own executor
    :param cause: the run whose stage makes the call; None for any other caller
    :param fence: the stage on whose behalf an executor makes the call; None for any other caller
    :param url: returns the URL at which it calls the methods; None inside the process
    :param is_gone: whether nobody reads the answer, because its connection has ended
    """

    __slots__ = (
        "_is_gone",
        "cause",
        "connection",
        "fence",
        "principal",
        "remote",
        "session",
        "subscriptions",
        "system",
        "url",
    )

    def __init__(
        self,
        principal: Principal = EVERYTHING,
        *,
        remote: str | None = None,
        connection: Connection | None = None,
        system: bool = False,
        cause: Cause | None = None,
        fence: Fence | None = None,
        url: Callable[[], str] | None = None,
        is_gone: Callable[[], bool] | None = None,
    ) -> None:
        self.principal = principal
        self.remote = remote
        self.connection = connection
        self.system = system
        self.cause = cause
        self.fence = fence
        self.url = url
        self._is_gone = is_gone
        self.session: Session | None = None
        self.subscriptions: dict[str, Subscription] = {}

    @property
    def gone(self) -> bool:
        """Whether nobody reads the answer any more."""
        return self._is_gone is not None and self._is_gone()

    @property
    def user_id(self) -> str | None:
        """The owner of the objects that it creates; None if no tokens exist."""
        return self.principal.id

    def audit(
        self,
        record_id: str,
        action: str,
        target: str | None = None,
        *,
        reason: str | None = None,
        **data: Any,
    ) -> AuditRecord:
        """Return the audit record of an action of this caller, to be written with the action.

        :param record_id: random id, so that the record is written only once if it is retried
        :param action: name of the method, for example `tasks.reset`
        :param target: id of the task or executor
        :param reason: why, in words of the caller; None if it gave no reason
        :param data: details; names of fields, but no values that can be secret
        """
        if reason is not None:
            data["reason"] = reason
        return AuditRecord(
            id=record_id,
            user_id=self.user_id,
            remote=self.remote,
            action=action,
            target=target,
            data=data,
        )
