"""Principals and tokens: who a caller is, and how tokens are issued and revoked."""

from kaiju_tasks.manager.auth.admission import REFUSAL, Admission
from kaiju_tasks.manager.auth.authenticator import Authenticator, Seat
from kaiju_tasks.manager.auth.database import database_issuer, list_tokens
from kaiju_tasks.manager.auth.issuer import Issuer
from kaiju_tasks.manager.auth.orders import DAY, HOUR, PrincipalChanges, QuotaChanges, TokenOrder
from kaiju_tasks.manager.auth.views import principal_info, token_info

__all__ = [
    "DAY",
    "HOUR",
    "REFUSAL",
    "Admission",
    "Authenticator",
    "Issuer",
    "PrincipalChanges",
    "QuotaChanges",
    "Seat",
    "TokenOrder",
    "database_issuer",
    "list_tokens",
    "principal_info",
    "token_info",
]
