"""What runs set going: where a run comes from, how deep its family is, and circles without a wait.

A run belongs to the family of the run that set it going: by creating its task, or by starting it.
The first run of a family is its root. Starts of existing tasks also form a chain, which ends with
a wait of WAIT_SECONDS. A circle in a chain is found as in Brent's algorithm: the chain keeps one of
its tasks as a mark, and moves the mark when the number of starts is a power of two. It costs
the same for a circle of any length.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from kaiju_tasks.errors import Conflict, TooManyTasks
from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.state import Row
from kaiju_tasks.types import LABELS_MAX

WAIT_SECONDS = 1.0
"""The shortest wait that ends a chain of starts."""


class Chain(Struct, frozen=True, array_like=True):
    """The starts that led to a run; kept in `Row.chain`.

    :param root: job_id of the first run of the family
    :param depth: the number of creations between that run and this one
    :param mark: a task of the chain; if it would start again, the chain is a circle
    :param starts: the number of starts
    """

    root: str
    depth: int
    mark: str
    starts: int


class Cause(Struct, frozen=True):
    """A run that sets others going.

    :param by: id of its task
    :param mark: None if no start led to this run since its last wait
    """

    by: str
    root: str
    depth: int
    mark: str | None = None
    starts: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Chain).decode


def cause_of(row: Row, definition: Definition) -> Cause:
    """The open run of a task, as the cause of others."""
    if row.chain is not None:
        chain = _decode(row.chain)
        depth = max(chain.depth, definition.depth)
        return Cause(row.id, chain.root, depth, chain.mark, chain.starts)
    return Cause(row.id, definition.root_id or row.job_id or row.id, definition.depth)


def chained(cause: Cause, target: str) -> str | None:
    """The chain of a run that another run starts.

    :param target: id of the task to start
    :returns: the value of `Row.chain`; None if the start closes a circle without a wait
    """
    if cause.mark == target:
        return None
    starts = cause.starts + 1
    at_power_of_two = starts & (starts - 1) == 0
    mark = target if cause.mark is None or at_power_of_two else cause.mark
    return _encode(Chain(cause.root, cause.depth, mark, starts)).decode()


def chain_of(cause: Cause | None, row: Row, verb: str) -> str | None:
    """The chain of a run that a call starts.

    :param cause: the run that makes the call; None for a client
    :raises Conflict: the start closes a circle without a wait
    """
    if cause is None:
        return None
    chain = chained(cause, row.id)
    if chain is None:
        raise Conflict(
            f"{verb} is not possible: the task would start again in a circle without a wait of "
            f"{WAIT_SECONDS:g} second",
            status=row.status,
        )
    return chain


def inherit_labels(child: Definition, labels: Mapping[str, str]) -> None:
    """Give a new task the labels of the task that creates it. Its own come first, if they are
    too many."""
    own = child.labels
    more = [key for key in labels if key not in own][: max(0, LABELS_MAX - len(own))]
    child.labels = own | {key: labels[key] for key in more}


def descend(definition: Definition, cause: Cause, max_depth: int) -> None:
    """Make a new task a child of the run that creates it.

    :raises TooManyTasks: the family is too deep
    """
    depth = cause.depth + 1
    if depth > max_depth:
        raise TooManyTasks(
            f"the task {cause.by!r:.300} cannot create tasks: it is {cause.depth} creations away "
            f"from the run that began all this, and `max_family_depth` is {max_depth}",
            root_id=cause.root,
        )
    definition.parent_id, definition.root_id, definition.depth = cause.by, cause.root, depth
