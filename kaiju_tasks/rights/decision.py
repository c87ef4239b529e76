"""The decision whether a principal may do something."""

from enum import Enum

from msgspec import Struct

from kaiju_tasks.rights.access import READ_TASKS, Access, Reach
from kaiju_tasks.rights.kinds import Verb
from kaiju_tasks.rights.principal import Principal

__all__ = ["Decision", "Target", "may", "may_call"]


class Decision(Enum):
    """`UNSEEN` is answered as if the object did not exist: its existence is a secret, too."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    UNSEEN = "unseen"


class Target(Struct, frozen=True, kw_only=True):
    """The object of a call.

    :param id: of the task or executor
    :param owner: the principal that owns it; None if nobody does
    :param streams: the streams that it belongs to; None for all of them, those that do not exist
        yet included
    """

    id: str
    owner: str | None = None
    streams: tuple[str, ...] | None


def may_call(principal: Principal | None, access: Access) -> bool:
    """Whether a principal may call a method or use a route at all.

    :param principal: None for a caller without a token
    """
    if principal is None:
        return access.anonymous
    if principal.kind is None:
        return True
    decided = principal.calls.get(access)
    if decided is None:
        reached = access.reach(principal.kind) is not Reach.NONE
        decided = reached and (access.verb is None or principal.has_verb(access.verb))
        principal.calls[access] = decided
    return decided


def may(principal: Principal, access: Access, target: Target) -> Decision:
    """Decide whether a principal may act on an object.

    :param access: what the method requires
    """
    if _allows(principal, access, target):
        return Decision.ALLOWED
    seen = _allows(principal, READ_TASKS, target)
    return Decision.FORBIDDEN if seen else Decision.UNSEEN


def _allows(principal: Principal, access: Access, target: Target) -> bool:
    if principal.kind is None:
        return True
    if not may_call(principal, access):
        return False
    reach = access.reach(principal.kind)
    if _reaches(principal, reach, target, reading=access.verb is Verb.READ):
        return True
    return access.by_grant and principal.may_message(target.id)


def _reaches(principal: Principal, reach: Reach, target: Target, *, reading: bool) -> bool:
    match reach:
        case Reach.ALL | Reach.STREAMS:
            return _in_streams(principal, target, reading=reading)
        case Reach.OWN:
            own = target.owner is not None and target.owner == principal.id
            return own and _in_streams(principal, target, reading=reading)
        case Reach.SESSION:
            return principal.may_be(target.id) and _in_streams(principal, target, reading=False)
        case Reach.NONE:
            return False


def _in_streams(principal: Principal, target: Target, *, reading: bool) -> bool:
    """Whether a target's streams are in scope: to read, one is enough, and to act, all must be."""
    if target.streams is None:
        return principal.allowed(lambda rights: rights.all_streams)
    found = (principal.has_stream(one) for one in target.streams)
    return any(found) if reading else all(found)
