"""The kinds of principals, and the verbs that a scope can be limited to."""

from enum import StrEnum

__all__ = ["Kind", "Verb"]


class Kind(StrEnum):
    """What a principal is. It never changes: a person with two kinds has two principals.

    `viewer` reads its streams. `user` has its own tasks. `operator` operates all tasks of its
    streams. `executor` serves its streams, and does nothing
    else, unless its token lets it declare schedules. `admin` does everything but
    serve streams.
    """

    VIEWER = "viewer"
    USER = "user"
    OPERATOR = "operator"
    EXECUTOR = "executor"
    ADMIN = "admin"

    @property
    def letter(self) -> str:
        """The letter of this kind in a token."""
        return _LETTERS[self]


_LETTERS = {
    Kind.VIEWER: "v",
    Kind.USER: "u",
    Kind.OPERATOR: "o",
    Kind.EXECUTOR: "x",
    Kind.ADMIN: "a",
}


class Verb(StrEnum):
    """What a call does.

    `read` changes nothing. `create` defines tasks and changes or deletes definitions. `message`
    delivers data to a run. `operate` acts on runs, streams and executors. `serve` runs stages.
    `manage` changes principals and tokens.
    """

    READ = "read"
    CREATE = "create"
    MESSAGE = "message"
    OPERATE = "operate"
    SERVE = "serve"
    MANAGE = "manage"
