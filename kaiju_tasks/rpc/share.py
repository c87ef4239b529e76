"""Shares something scarce among clients."""

import asyncio
from collections import OrderedDict, deque

__all__ = ["Share"]


class Share:
    """An amount that clients share, of bytes for example. Those that wait for some take turns.

    A client that has some takes more only if as many are left as it has then. So a few clients
    cannot take all, and one that has none finds some, however many others do not give theirs back.

    :param total: for all clients
    :param each: for each client; more is counted as this
    :param least: less is counted as this
    """

    def __init__(self, total: int, each: int, least: int = 1) -> None:
        self._left = total
        self._each = each
        self._least = least
        self._used: dict[str, int] = {}
        self._waiting: OrderedDict[str, deque[tuple[asyncio.Future[None], int]]] = OrderedDict()

    async def take(self, client: str, size: int) -> int:
        """Take some when it is free.

        :returns: the number to give back
        """
        if taken := self.take_now(client, size):
            return taken
        size = self._counted(size)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append((turn, size))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give(client, size)
            raise
        return size

    def take_now(self, client: str, size: int) -> int:
        """Take some if it is free.

        :returns: the number to give back; 0 if it is not free
        """
        size = self._least if size < self._least else min(size, self._each)
        used = self._used.get(client, 0)
        if self._waiting or size > self._left or (used and self._exceeds(client, size)):
            return 0
        self._left -= size
        self._used[client] = used + size
        return size

    def give(self, client: str, size: int) -> None:
        """Give it back."""
        self._left += size
        if left := self._used[client] - size:
            self._used[client] = left
        else:
            del self._used[client]
        if self._waiting:
            self._serve()

    def _counted(self, size: int) -> int:
        return min(max(size, self._least), self._each)

    def _exceeds(self, client: str, size: int) -> bool:
        used = self._used.get(client, 0)
        return used > 0 and used + size > min(self._each, self._left)

    def _count(self, client: str, size: int) -> None:
        self._left -= size
        self._used[client] = self._used.get(client, 0) + size

    def _serve(self) -> None:
        """Serve waiting clients in turn. One that has its maximum lets others pass."""
        passed = 0
        while passed < len(self._waiting):
            client, queue = self._waiting.popitem(last=False)
            while queue and queue[0][0].cancelled():
                queue.popleft()
            if not queue:
                continue
            turn, size = queue[0]
            exceeds = self._exceeds(client, size)
            if not exceeds and size > self._left:
                self._waiting[client] = queue
                self._waiting.move_to_end(client, last=False)  # it remains the next
                return
            if not exceeds:
                queue.popleft()
                self._count(client, size)
                turn.set_result(None)
            if queue:
                self._waiting[client] = queue
            passed = passed + 1 if exceeds else 0
