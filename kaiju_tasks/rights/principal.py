"""On whose behalf something is asked for."""

from collections.abc import Callable, Hashable
from functools import cached_property

from msgspec import Struct

from kaiju_tasks.rights.globs import any_matches
from kaiju_tasks.rights.kinds import Kind, Verb
from kaiju_tasks.rights.scope import NOTHING, Rights

__all__ = ["EVERYTHING", "NOBODY", "Principal"]

DECISIONS_MAX = 64
"""How many decisions about streams, and how many about methods, a principal remembers."""


class Principal(Struct, frozen=True, dict=True):
    """A principal, as one of its tokens or runs acts for it.

    :param id: its name; None for a caller without a name, who may do everything
    :param kind: None for a caller that may do everything: there are no tokens, or it is the
        manager itself
    :param limits: all of them must allow what is asked: the rights of the principal now, and
        those of the token, for example. Empty for a caller that may do everything.
    :param token_id: the token that it uses or that created the run; None if there is none
    """

    id: str | None
    kind: Kind | None
    limits: tuple[Rights, ...] = ()
    token_id: str | None = None

    @property
    def unlimited(self) -> bool:
        """Whether it may do everything."""
        return self.kind is None

    def allowed(self, test: Callable[[Rights], bool]) -> bool:
        """Whether all limits allow something."""
        return not self.limits or all(test(rights) for rights in self.limits)

    def has_verb(self, verb: Verb) -> bool:
        """Whether the verb is in scope."""
        return self.allowed(lambda rights: verb in rights.verbs)

    def has_stream(self, app_name: str) -> bool:
        """Whether a stream is in scope."""
        decided = self._streams.get(app_name)
        if decided is None:
            decided = self.allowed(lambda rights: rights.has_stream(app_name))
            _remember(self._streams, app_name, decided)
        return decided

    def has_method(self, method: str) -> bool:
        """Whether tasks may call this method on an executor. Hooks need no right."""
        decided = self._methods.get(method)
        if decided is None:
            decided = self.allowed(lambda rights: any_matches(rights.methods, method))
            _remember(self._methods, method, decided)
        return decided

    def has_stage(self, method: str) -> bool:
        """Whether a stage on the stream `manager` may call this public method."""
        return self.allowed(lambda rights: any_matches(rights.stages, method))

    def may_call_host(self, host: str) -> bool:
        """Whether a webhook may call this host. Case is not significant."""
        return self.allowed(
            lambda rights: any_matches((one.lower() for one in rights.webhook_hosts), host.lower())
        )

    def may_message(self, task_id: str) -> bool:
        """Whether a message may be sent to this task of somebody else."""
        return self.allowed(lambda rights: any_matches(rights.message, task_id))

    def may_be(self, executor_id: str) -> bool:
        """Whether an executor may take this id."""
        return self.allowed(lambda rights: any_matches(rights.executors, executor_id))

    @property
    def capacity(self) -> int | None:
        """The most tasks that an executor may hold; None for no limit."""
        given = [rights.capacity for rights in self.limits if rights.capacity is not None]
        return min(given, default=None)

    @cached_property
    def sees_data(self) -> bool:
        """Whether it sees `kws`, params and results."""
        return self.allowed(lambda rights: rights.see_data)

    @cached_property
    def _streams(self) -> dict[str, bool]:
        """What is decided for each task of a batch is the same for most of them."""
        return {}

    @cached_property
    def calls(self) -> dict[Hashable, bool]:
        """What was decided by `may_call`, by the access. There are few of these."""
        return {}

    @cached_property
    def _methods(self) -> dict[str, bool]:
        return {}

    def excess(self, rights: Rights) -> str | None:
        """Name the first limit of some rights that is wider than its own; None if none is."""
        return next((name for own in self.limits if (name := own.excess(rights))), None)


def _remember(decisions: dict[str, bool], name: str, decided: bool) -> None:
    if len(decisions) >= DECISIONS_MAX:
        decisions.clear()
    decisions[name] = decided


EVERYTHING = Principal(id=None, kind=None)
"""A caller that may do everything."""

NOBODY = Principal(id=None, kind=Kind.VIEWER, limits=(NOTHING,))
"""A caller that may do nothing: its token has ended."""
