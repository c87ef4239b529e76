"""What a principal sees: a condition of every read of the store that a call reaches."""

from collections.abc import Iterable

from msgspec import Struct

from kaiju_tasks.rights.access import Access, Reach
from kaiju_tasks.rights.decision import may_call
from kaiju_tasks.rights.globs import any_matches
from kaiju_tasks.rights.principal import Principal

__all__ = ["ALL_SIGHT", "NO_SIGHT", "Sight", "sight_of"]


class Sight(Struct, frozen=True):
    """The objects that are seen: those that fulfil all conditions.

    :param owner: only those of this owner; None for all owners
    :param streams: lists of globs; the stream of an object must match a glob of each list
    """

    owner: str | None = None
    streams: tuple[tuple[str, ...], ...] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing is hidden."""
        return self.owner is None and not self.streams

    def sees(self, owner: str | None, app_name: str) -> bool:
        """Whether an object of this owner in this stream is seen."""
        return self.owner in (None, owner) and self.sees_stream(app_name)

    def sees_any(self, app_names: Iterable[str]) -> bool:
        """Whether one of these streams is seen; true without streams if nothing is hidden."""
        return not self.streams or any(map(self.sees_stream, app_names))

    def sees_stream(self, app_name: str) -> bool:
        """Whether a stream is seen, whoever owns what is in it."""
        return all(any_matches(globs, app_name) for globs in self.streams)


ALL_SIGHT = Sight()
NO_SIGHT = Sight(streams=((),))


def sight_of(principal: Principal, access: Access) -> Sight:
    """What a principal sees with a method.

    :param access: what the method requires
    """
    if principal.kind is None:
        return ALL_SIGHT
    if not may_call(principal, access):
        return NO_SIGHT
    owner = principal.id if access.reach(principal.kind) is Reach.OWN else None
    limits = (rights.streams for rights in principal.limits if not rights.all_streams)
    return Sight(owner, tuple(limits))
