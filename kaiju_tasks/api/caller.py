"""Who calls, and over what."""

from kaiju_tasks.manager.sessions import Connection, Session


class Caller:
    """The caller of a method.

    :param user_id: owner of what it creates; None while no tokens are configured
    :param remote: address it calls from
    :param connection: its WebSocket; None over HTTP
    """

    __slots__ = ("connection", "remote", "session", "user_id")

    def __init__(
        self,
        *,
        user_id: str | None = None,
        remote: str | None = None,
        connection: Connection | None = None,
    ) -> None:
        self.user_id = user_id
        self.remote = remote
        self.connection = connection
        self.session: Session | None = None
