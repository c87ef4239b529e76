"""What clients ask for."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict, replace

from kaiju_tasks.rights import Kind, Quotas, Scope
from kaiju_tasks.rights.quotas import Number, Rate

DAY = 86_400.0
HOUR = 3_600.0
LIFETIME_SECONDS = 90 * DAY
EXECUTOR_LIFETIME_SECONDS = 365 * DAY
"""Executors are many and run unattended."""

Lifetime = Annotated[float, Meta(gt=0, le=3_650 * DAY)]
Overlap = Annotated[float, Meta(ge=0, le=30 * DAY)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}(?![\s\S])")]
Note = Annotated[str, Meta(min_length=1, max_length=255)]
TokenId = Annotated[str, Meta(min_length=1, max_length=100)]


class TokenOrder(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a new token is to be.

    :param principal: name of its principal, which is created if it does not exist: 1 to 100
        letters, digits and `. _ @ + -`, of which the first is a letter or a digit
    :param kind: kind of the principal; required if the principal does not exist
    :param scope: what the token is limited to; what it leaves out is the default of the kind
    :param note: what it is for, for people
    :param lifetime: seconds until it expires; by default 90 days, and 365 for executors
    """

    principal: Name
    kind: Kind | None = None
    scope: Scope = Scope()
    note: Note | None = None
    lifetime: Lifetime | None = None

    def lifetime_of(self, kind: Kind) -> float:
        """The seconds until a token of this kind expires."""
        if self.lifetime is not None:
            return self.lifetime
        return EXECUTOR_LIFETIME_SECONDS if kind is Kind.EXECUTOR else LIFETIME_SECONDS


class QuotaChanges(Struct, kw_only=True, forbid_unknown_fields=True):
    """Changes of quotas. What is left out stays; null is what the settings say, and 0 no limit.

    :param open_tasks: the most open tasks
    :param creates_per_second: the most tasks that it creates in a second
    :param pauses: the most pauses that it has added
    """

    open_tasks: Number | UnsetType | None = UNSET
    creates_per_second: Rate | UnsetType | None = UNSET
    pauses: Number | UnsetType | None = UNSET

    def given(self) -> dict[str, float | None]:
        """Those that change."""
        return {name: value for name, value in asdict(self).items() if value is not UNSET}

    def of(self, quotas: Quotas) -> Quotas:
        """These quotas after the change."""
        return replace(quotas, **self.given())


class PrincipalChanges(Struct, forbid_unknown_fields=True):
    """Changes to a principal. What is left out stays.

    :param disabled: whether to refuse all its tokens
    :param quotas: how much it may use
    """

    disabled: bool | UnsetType = UNSET
    quotas: QuotaChanges | UnsetType = UNSET
