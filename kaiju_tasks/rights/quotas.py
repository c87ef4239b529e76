"""How much a principal may use."""

from typing import Annotated

from msgspec import Meta, Struct

from kaiju_tasks.rights.kinds import Kind

__all__ = ["NO_QUOTAS", "Quotas", "quotas_of"]

Number = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Rate = Annotated[float, Meta(ge=0, le=1_000_000)]


class Quotas(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a principal may use at most. 0 is no limit.

    :param open_tasks: its tasks that have not ended, without idle ones that have no next run
    :param creates_per_second: the tasks that it creates in a second
    :param pauses: the pauses that it has added
    """

    open_tasks: Number | None = None
    creates_per_second: Rate | None = None
    pauses: Number | None = None

    def or_else(self, others: "Quotas") -> "Quotas":
        """These quotas, and others where they are None."""
        return Quotas(
            open_tasks=others.open_tasks if self.open_tasks is None else self.open_tasks,
            creates_per_second=(
                others.creates_per_second
                if self.creates_per_second is None
                else self.creates_per_second
            ),
            pauses=others.pauses if self.pauses is None else self.pauses,
        )


NO_QUOTAS = Quotas(open_tasks=0, creates_per_second=0.0, pauses=0)


def quotas_of(kind: Kind, own: Quotas, defaults: Quotas) -> Quotas:
    """The quotas of a principal, of which none is None. Administrators have their own only.

    :param own: what was set for it
    :param defaults: what the settings say, of which none is None
    """
    return own.or_else(NO_QUOTAS if kind is Kind.ADMIN else defaults)
