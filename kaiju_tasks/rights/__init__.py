"""Who may do what: pure rules without I/O.

A *principal* is a person or a program with a kind and a scope. Its *tokens* can narrow the scope.
*Access* says for each kind what a method or route requires, and `may` decides.
"""

from kaiju_tasks.rights.access import Access, Reach
from kaiju_tasks.rights.decision import Decision, Target, may, may_call
from kaiju_tasks.rights.globs import covers, matches
from kaiju_tasks.rights.kinds import Kind, Verb
from kaiju_tasks.rights.principal import EVERYTHING, NOBODY, Principal
from kaiju_tasks.rights.quotas import NO_QUOTAS, Quotas, quotas_of
from kaiju_tasks.rights.scope import Rights, Scope, most_of, rights_of
from kaiju_tasks.rights.sight import ALL_SIGHT, NO_SIGHT, Sight, sight_of
from kaiju_tasks.rights.tokens import (
    TokenParts,
    hash_token,
    hide_tokens,
    new_token,
    read_token,
    same_hash,
    token_id_in,
)

__all__ = [
    "ALL_SIGHT",
    "EVERYTHING",
    "NOBODY",
    "NO_QUOTAS",
    "NO_SIGHT",
    "Access",
    "Decision",
    "Kind",
    "Principal",
    "Quotas",
    "Reach",
    "Rights",
    "Scope",
    "Sight",
    "Target",
    "TokenParts",
    "Verb",
    "covers",
    "hash_token",
    "hide_tokens",
    "matches",
    "may",
    "may_call",
    "most_of",
    "new_token",
    "quotas_of",
    "read_token",
    "rights_of",
    "same_hash",
    "sight_of",
    "token_id_in",
]
