"""What a token or a principal is limited to."""

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from kaiju_tasks.rights.globs import ALL, any_covers, any_matches
from kaiju_tasks.rights.kinds import Kind, Verb

__all__ = ["NOTHING", "NOTHING_SCOPE", "Glob", "Globs", "Rights", "Scope", "most_of", "rights_of"]

Glob = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f]+(?![\s\S])",
        description="`*` is any text and `?` any character; all else stands for itself.",
    ),
]
Globs = Annotated[tuple[Glob, ...], Meta(max_length=100)]


class Scope(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Limits. An absent one is the default of the kind; an empty list allows nothing.

    :param streams: globs of `app_name`
    :param methods: globs of the methods that tasks may call on executors
    :param verbs: `read`, `create`, `message`, `operate`, `serve`, `manage`
    :param message: globs of ids of tasks of others that may be sent messages
    :param executors: globs of the ids that an executor may take
    :param webhook_hosts: globs of hosts that webhooks may call
    :param stages: globs of the public methods that stages may call, on the stream `manager` or by
        `Context.tasks`
    :param capacity: the most tasks that an executor may hold
    :param see_data: whether `kws`, params and results are shown
    """

    streams: Globs | None = None
    methods: Globs | None = None
    verbs: Annotated[tuple[Verb, ...], Meta(max_length=20)] | None = None
    message: Globs | None = None
    executors: Globs | None = None
    webhook_hosts: Globs | None = None
    stages: Globs | None = None
    capacity: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    see_data: bool | None = None


class Rights(Struct, frozen=True):
    """A scope in which nothing is left to defaults; see `Scope`.

    :param capacity: None for no limit
    """

    streams: tuple[str, ...]
    methods: tuple[str, ...]
    verbs: frozenset[Verb]
    message: tuple[str, ...]
    executors: tuple[str, ...]
    webhook_hosts: tuple[str, ...]
    stages: tuple[str, ...]
    capacity: int | None
    see_data: bool

    @property
    def all_streams(self) -> bool:
        """Whether every stream is in scope, those that do not exist yet included."""
        return any_covers(self.streams, [ALL])

    def has_stream(self, app_name: str) -> bool:
        """Whether a stream is in scope."""
        return any_matches(self.streams, app_name)

    def excess(self, other: "Rights") -> str | None:
        """Name the first limit of other rights that is wider than this one; None if none is."""
        for name in _GLOBS:
            if not any_covers(getattr(self, name), getattr(other, name)):
                return name
        if not other.verbs <= self.verbs:
            return "verbs"
        if self.capacity is not None and (other.capacity is None or other.capacity > self.capacity):
            return "capacity"
        return "see_data" if other.see_data and not self.see_data else None


_GLOBS = ("streams", "methods", "message", "executors", "webhook_hosts", "stages")
_EVERY = (ALL,)
_OWN_STAGES = ("tasks.*", "notifications.*")

_AUTHOR = Rights(
    streams=_EVERY,
    methods=_EVERY,
    verbs=frozenset({Verb.READ, Verb.CREATE, Verb.MESSAGE, Verb.OPERATE}),
    message=(),
    executors=(),
    webhook_hosts=_EVERY,
    stages=_OWN_STAGES,
    capacity=None,
    see_data=True,
)
"""Users and operators differ in the tasks that they reach (`access.py`), not in their scope."""

_DEFAULTS = {
    Kind.VIEWER: Rights(
        streams=_EVERY,
        methods=(),
        verbs=frozenset({Verb.READ}),
        message=(),
        executors=(),
        webhook_hosts=(),
        stages=(),
        capacity=None,
        see_data=False,
    ),
    Kind.USER: _AUTHOR,
    Kind.OPERATOR: _AUTHOR,
    Kind.EXECUTOR: Rights(
        streams=_EVERY,
        methods=(),
        verbs=frozenset({Verb.SERVE}),
        message=(),
        executors=_EVERY,
        webhook_hosts=(),
        stages=(),
        capacity=None,
        see_data=False,
    ),
    Kind.ADMIN: Rights(
        streams=_EVERY,
        methods=_EVERY,
        verbs=frozenset(Verb),
        message=_EVERY,
        executors=_EVERY,
        webhook_hosts=_EVERY,
        stages=_EVERY,
        capacity=None,
        see_data=True,
    ),
}


def rights_of(kind: Kind, scope: Scope = Scope()) -> Rights:  # noqa: B008 - it is immutable
    """Fill what the scope of a token leaves out from the defaults of a kind.

    An admin that is limited to some streams sends no messages to tasks of others, unless its scope
    says so.
    """
    default = _DEFAULTS[kind]
    if scope.streams is not None:
        default = replace(default, message=())
    return _filled(default, scope)


def most_of(kind: Kind, scope: Scope = Scope()) -> Rights:  # noqa: B008 - it is immutable
    """Fill what the scope of a principal leaves out: it does not limit what a token grants beyond
    the defaults of the kind."""
    most = replace(_DEFAULTS[kind], message=_EVERY, stages=_EVERY, see_data=True)
    if kind is Kind.EXECUTOR:  # a token may grant the right to declare schedules, and what runs do
        most = replace(most, verbs=most.verbs | _AUTHOR.verbs, methods=_EVERY)
    return _filled(most, scope)


def _filled(default: Rights, scope: Scope) -> Rights:
    def chosen(name: str) -> tuple[str, ...]:
        given: tuple[str, ...] | None = getattr(scope, name)
        limits: tuple[str, ...] = getattr(default, name) if given is None else given
        return limits

    return Rights(
        streams=chosen("streams"),
        methods=chosen("methods"),
        verbs=default.verbs if scope.verbs is None else frozenset(scope.verbs),
        message=chosen("message"),
        executors=chosen("executors"),
        webhook_hosts=chosen("webhook_hosts"),
        stages=chosen("stages"),
        capacity=scope.capacity,
        see_data=default.see_data if scope.see_data is None else scope.see_data,
    )


NOTHING_SCOPE = Scope(
    streams=(),
    methods=(),
    verbs=(),
    message=(),
    executors=(),
    webhook_hosts=(),
    stages=(),
    capacity=0,
    see_data=False,
)
"""A scope that allows nothing."""
NOTHING = rights_of(Kind.VIEWER, NOTHING_SCOPE)
