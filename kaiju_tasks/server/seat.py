"""Takes the rights of callers whose token ends while they are connected."""

import logging

from kaiju_tasks.api import Caller, end_subscriptions
from kaiju_tasks.errors import KaijuError
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import NOBODY, Principal
from kaiju_tasks.server.peer import Peer
from kaiju_tasks.store.base import StoreError

__all__ = ["CallSeat", "SocketSeat"]

logger = logging.getLogger(__name__)


class CallSeat:
    """The rights of the caller of a POST, which can take as long as a `tasks.wait`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def changed(self, principal: Principal) -> None:
        """Give the caller other rights."""
        self._caller.principal = principal

    def ended(self) -> None:
        """Take all rights from the caller."""
        self._caller.principal = NOBODY


class SocketSeat:
    """The rights of the caller at the other end of a WebSocket."""

    def __init__(self, manager: Manager, caller: Caller, peer: Peer) -> None:
        self._manager = manager
        self._caller = caller
        self._peer = peer

    def changed(self, principal: Principal) -> None:
        """Give the caller other rights."""
        self._caller.principal = principal

    def ended(self) -> None:
        """Take all rights from the caller, give back the tasks of its executor, and close."""
        logger.info(
            "closing the connection of %s at %s: its token is no longer valid",
            self._caller.user_id or "a caller without a token",
            self._caller.remote,
        )
        self._caller.principal = NOBODY
        end_subscriptions(self._manager, self._caller)
        self._manager.spawn(self._close())

    async def _close(self) -> None:
        session = self._caller.session
        try:
            if session is not None:
                await self._manager.roster.dismiss(session)
        except (KaijuError, StoreError) as error:
            assert session is not None
            logger.warning(
                "the tasks of executor %s return to their streams when its lease ends: %s",
                session.executor_id,
                error,
            )
        finally:
            self._peer.close_without_token()
