"""Counts the bytes that are held in memory, up to a limit."""

__all__ = ["Room"]


class Room:
    """Room for bytes.

    :param most: the most bytes
    :param whole: the room of which this one is a part
    """

    def __init__(self, most: int, whole: "Room | None" = None) -> None:
        self._most = most
        self._whole = whole
        self._taken = 0

    def take(self, size: int) -> bool:
        """Take room for `size` bytes.

        :returns: False if there is not enough; none is taken then
        """
        if self._taken + size > self._most:
            return False
        if self._whole is not None and not self._whole.take(size):
            return False
        self._taken += size
        return True

    def leave(self, size: int) -> None:
        """Give room back that was taken."""
        self._taken -= size
        if self._whole is not None:
            self._whole.leave(size)
