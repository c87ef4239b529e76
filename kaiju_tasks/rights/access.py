"""What a method or a route requires of each kind.

The constants at the end are all combinations in use; each method and route names one of them where
it is registered.
"""

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from kaiju_tasks.rights.kinds import Kind, Verb

__all__ = ["Access", "Reach"]


class Reach(StrEnum):
    """On which objects a kind may act.

    `all` of them; a scope that lists streams limits even these. `own`: those that it owns, in its
    streams. `streams`: those in its streams. `session`: its own executor id, session and leases.
    `none`: the kind may not call it.
    """

    ALL = "all"
    OWN = "own"
    STREAMS = "streams"
    SESSION = "session"
    NONE = "none"


class Access(Struct, frozen=True, kw_only=True):
    """What a method or a route requires. Kinds that it does not name are refused.

    :param verb: the verb that must be in scope; None if the kind is enough
    :param anonymous: whether a caller without a token may use it
    :param by_grant: whether a grant (`Scope.message`) reaches tasks of others, too
    """

    verb: Verb | None
    viewer: Reach = Reach.NONE
    user: Reach = Reach.NONE
    operator: Reach = Reach.NONE
    executor: Reach = Reach.NONE
    admin: Reach = Reach.NONE
    anonymous: bool = False
    by_grant: bool = False

    def reach(self, kind: Kind) -> Reach:
        """The reach of a kind."""
        reach: Reach = getattr(self, kind.value)
        return reach

    def __iter__(self) -> Iterator[tuple[Kind, Reach]]:
        return ((kind, self.reach(kind)) for kind in Kind)


_ALL, _OWN, _STREAMS, _SESSION = Reach.ALL, Reach.OWN, Reach.STREAMS, Reach.SESSION

PUBLIC = Access(
    verb=None,
    viewer=_ALL,
    user=_ALL,
    operator=_ALL,
    executor=_ALL,
    admin=_ALL,
    anonymous=True,
)
"""Static pages and health checks, which contain no data."""

SIGNED_IN = Access(verb=None, viewer=_ALL, user=_ALL, operator=_ALL, executor=_ALL, admin=_ALL)
"""What every token may use; of the calls behind it, each has its own access."""

READ_TASKS = Access(verb=Verb.READ, viewer=_STREAMS, user=_OWN, operator=_STREAMS, admin=_ALL)
READ_STREAMS = Access(verb=Verb.READ, viewer=_STREAMS, user=_STREAMS, operator=_STREAMS, admin=_ALL)
READ_OPERATIONS = Access(verb=Verb.READ, operator=_STREAMS, admin=_ALL)
READ_METRICS = Access(verb=Verb.READ, viewer=_STREAMS, operator=_STREAMS, admin=_ALL)
READ_AUDIT = Access(verb=Verb.READ, user=_OWN, operator=_STREAMS, admin=_ALL)
CALCULATE = Access(verb=Verb.READ, viewer=_ALL, user=_ALL, operator=_ALL, admin=_ALL)
CREATE_TASKS = Access(verb=Verb.CREATE, user=_STREAMS, operator=_STREAMS, admin=_ALL)
CHANGE_TASKS = Access(verb=Verb.CREATE, user=_OWN, operator=_STREAMS, admin=_ALL)
MESSAGE_TASKS = Access(verb=Verb.MESSAGE, user=_OWN, operator=_STREAMS, admin=_ALL, by_grant=True)
OPERATE_TASKS = Access(verb=Verb.OPERATE, user=_OWN, operator=_STREAMS, admin=_ALL)
OPERATE_STREAMS = Access(verb=Verb.OPERATE, operator=_STREAMS, admin=_ALL)
SERVE = Access(verb=Verb.SERVE, executor=_SESSION)
ACKNOWLEDGE = Access(verb=None, executor=_ALL, admin=_ALL)
OWN_TOKEN = Access(verb=None, viewer=_OWN, user=_OWN, operator=_OWN, executor=_OWN, admin=_ALL)
MANAGE = Access(verb=Verb.MANAGE, admin=_ALL)
