"""The rights of runs: those of the token that defined the task.

A token never changes what it allows, and a principal neither, so that each is read once. Whether
the owner is disabled is known to pauses.
"""

from collections import OrderedDict

from kaiju_tasks.errors import Forbidden
from kaiju_tasks.lifecycle import Definition, TaskState, held_by_operator
from kaiju_tasks.rights import NOBODY, Decision, Kind, Principal, Target, access, may
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.store.credentials import acting_in_runs

__all__ = [
    "RunRights",
    "check_hold",
    "hold_refusal",
    "may_observe",
    "may_start",
    "respects_holds",
]

KEPT_MAX = 10_000
_LIFT_HOLDS = frozenset({None, Kind.OPERATOR, Kind.ADMIN})
"""The kinds that let tasks go on that an operator has suspended; None without tokens."""


class RunRights:
    """Reads the rights of runs."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Principal] = OrderedDict()

    async def of(self, tx: Transaction, definition: Definition) -> Principal:
        """On whose behalf the runs of a task act. What was defined without tokens may do
        everything."""
        token_id = definition.token_id
        if token_id is None:
            return Principal(definition.user_id, kind=None)
        if token_id in self._known:
            self._known.move_to_end(token_id)
            return self._known[token_id]
        token = await tx.token(token_id)
        principal = None if token is None else await tx.principal(token.principal_id)
        if token is None or principal is None:
            return NOBODY
        self._known[token_id] = found = acting_in_runs(principal, token)
        if len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)
        return found


def may_observe(principal: Principal, other: Definition) -> bool:
    """Whether runs can wait for a task and get its results: it must have the same owner, whatever
    the kind of the principal."""
    if principal.unlimited:
        return True
    own = other.user_id == principal.id
    return own and may(principal, access.READ_TASKS, _target(other)) is Decision.ALLOWED


def may_start(principal: Principal, other: Definition) -> bool:
    """Whether the ends of runs can start a task."""
    return may(principal, access.OPERATE_TASKS, _target(other)) is Decision.ALLOWED


def check_hold(principal: Principal, state: TaskState) -> None:
    """
    :raises Forbidden: an operator has suspended the task, and only operators let it go on
    """
    if respects_holds(principal) and held_by_operator(state.row):
        raise hold_refusal(state.row.id)


def respects_holds(principal: Principal) -> bool:
    """Whether a principal does not let tasks go on that an operator has suspended. The runs of a
    schedule that an executor has declared do not, either."""
    return principal.kind not in _LIFT_HOLDS


def hold_refusal(task_id: str | None) -> Forbidden:
    """The error of who would let a task go on that an operator has suspended.

    :param task_id: None for several tasks
    """
    if task_id is None:
        return Forbidden("an operator has suspended these tasks: only operators let them go on")
    return Forbidden(
        f"an operator has suspended the task {task_id!r}: only operators let it go on", id=task_id
    )


def _target(definition: Definition) -> Target:
    return Target(id=definition.id, owner=definition.user_id, streams=(definition.app_name,))
