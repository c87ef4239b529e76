"""A PostgreSQL for tests: started, killed and thrown away at will, as root too."""

import asyncio
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import asyncpg

from tests.support.orphans import OrphanGuard
from tests.support.pids import children_of, kill_if_there, wait_until_gone
from tests.support.ports import free_port
from tests.support.postgres_binaries import PostgresBinaries, find_postgres

START_SECONDS = 60
STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "warning",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
}
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_STOP_AND_REMOVE = """
pid=$(head -n 1 "$1/data/postmaster.pid") && kill -s QUIT "$pid" &&
    while kill -0 "$pid"; do sleep 0.1; done
rm -rf "$1"
"""


class PostgresError(RuntimeError):
    """A server did not start or stop; the message carries the end of its log."""


class Postgres:
    """A running PostgreSQL, ours or somebody's.

    :param dsn: of a database in which other databases may be created from
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def dsn(self, database: str = "postgres") -> str:
        """The address of one of its databases."""
        return urlsplit(self._dsn)._replace(path=f"/{database}").geturl()

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, empty or as a copy of `template`; nobody may be connected to that.

        :returns: its DSN
        """
        copied = f" TEMPLATE {_quoted(template)}" if template else ""
        self.query(f"CREATE DATABASE {_quoted(name)}{copied}")
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there, whoever is connected to it."""
        self.query(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def query(self, sql: str, *arguments: Any, dsn: str | None = None) -> list[asyncpg.Record]:
        """Run one statement on a connection of its own; may be called beside a running loop.

        :param dsn: where; default is the database for administration
        """

        async def run() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(dsn or self._dsn, timeout=10)
            try:
                return await connection.fetch(sql, *arguments, timeout=30)
            finally:
                await connection.close(timeout=10)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, run()).result()


def fresh_database(server: Postgres) -> Iterator[str]:
    """Yield the DSN of a new database and drop it afterwards."""
    name = fresh_name()
    yield server.create_database(name)
    server.drop_database(name)


class PostgresServer(Postgres):
    """A server of our own. Its data live until `close`, its port stays the same.

    :param binaries: which PostgreSQL; default is the first of `find_postgres()`
    :param settings: beside or instead of SETTINGS, such as `{"fsync": "on"}`
    :param port: default is any free one
    :param parent: the folder that gets the data; the user of the server must be able to enter it
    """

    def __init__(
        self,
        binaries: PostgresBinaries | None = None,
        settings: Mapping[str, str] | None = None,
        port: int = 0,
        parent: Path | None = None,
    ) -> None:
        self.binaries = binaries or find_postgres()[0]
        self.version = self.binaries.version
        self.port = port or free_port()
        super().__init__(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
        self._settings = {**SETTINGS, **(settings or {}), "port": str(self.port)}
        self._parent = parent
        self._folder: Path | None = None
        self._guard: OrphanGuard | None = None
        self._postmaster: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The postmaster's."""
        return self._running().pid

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        log = self._home() / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def start(self) -> None:
        """Start it and wait until it takes connections; crash recovery is over then."""
        if self._postmaster is not None:
            raise PostgresError("The server runs already.")
        folder = self._home()
        settings = {**self._settings, "unix_socket_directories": str(folder)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("ab") as log:
            self._postmaster = spawn_as_server(
                [str(self._program("postgres")), "-D", str(folder / "data"), *options], folder, log
            )
        self._wait_until_ready(self._postmaster, folder / "data" / "postmaster.pid")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it.

        :param mode: `fast` ends all sessions in good order, `immediate` leaves crash recovery
            to the next start
        """
        postmaster = self._running()
        postmaster.send_signal(STOP_SIGNALS[mode])
        try:
            postmaster.wait(START_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise PostgresError(f"The server did not stop.\n{self._log_end()}") from error
        self._postmaster = None

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it and start it again on the same port with the same data."""
        self.stop(mode)
        self.start()

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself after its start."""
        return self._postmaster is not None and self._postmaster.poll() is not None

    def start_again(self) -> None:
        """Start a server that has ended by itself."""
        assert self.has_ended
        self._postmaster = None
        self.start()

    def kill(self) -> None:
        """SIGKILL to the postmaster and all its children, as if the machine had lost power."""
        postmaster = self._running()
        postmaster.send_signal(signal.SIGSTOP)  # no child is born while we count them
        children = children_of(postmaster.pid)
        postmaster.kill()
        for child in children:
            kill_if_there(child)
        postmaster.wait()
        # Until they are gone the shared memory is in use, and a new server refuses to start.
        wait_until_gone(children, timeout=START_SECONDS)
        self._postmaster = None

    def close(self) -> None:
        """Stop it, if it runs, and remove its data."""
        try:
            if self._postmaster is not None:
                self.stop("immediate")
        finally:
            if self._folder is not None:
                shutil.rmtree(self._folder)
                self._folder = None
            if self._guard is not None:
                self._guard.release()
                self._guard = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._postmaster is None:
            raise PostgresError("The server does not run.")
        return self._postmaster

    def _home(self) -> Path:
        if self._folder is None:
            parent = self._parent or _shared_tmp()
            self._folder = Path(tempfile.mkdtemp(prefix="kaiju-pg-", dir=parent))
            self._guard = OrphanGuard(_STOP_AND_REMOVE, str(self._folder))
            _given_to_server_user(self._folder)
            self._copy_data(self._folder)
        return self._folder

    def _copy_data(self, folder: Path) -> None:
        """Copy what initdb makes, which takes a tenth of the time of initdb."""
        if self.binaries not in _data:
            made = Path(tempfile.mkdtemp(prefix="kaiju-pg-data-", dir=_shared_tmp()))
            _removed_at_the_end.append(OrphanGuard('rm -rf "$1"', str(made)))
            _given_to_server_user(made)
            self._initdb(made)
            _data[self.binaries] = made / "data"
        subprocess.run(["cp", "-a", _data[self.binaries], folder], check=True)

    def _initdb(self, folder: Path) -> None:
        # Not the C locale where another can be had: what relies on the order of code points
        # has to say so in SQL, because a team's database is seldom made with C.
        icu = ["--locale-provider=icu", "--icu-locale=en-US"] if self.binaries.has_icu else []
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", *icu]
        initdb = [str(self._program("initdb")), "--no-sync", "-D", str(folder / "data"), *options]
        self._finish(initdb, folder)

    def _finish(self, command: list[str], folder: Path) -> None:
        """Run one of its programs to the end, as its user."""
        with (folder / "log").open("ab") as log:
            status = spawn_as_server(command, folder, log).wait(START_SECONDS)
        if status != 0:
            said = (folder / "log").read_text(errors="replace")
            raise PostgresError(f"{Path(command[0]).name} ended with {status}.\n{said}")

    def _program(self, name: str) -> Path:
        return readable_by_server_user(self.binaries) / name

    def _wait_until_ready(self, postmaster: subprocess.Popen[bytes], pid_file: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _says_ready(pid_file, postmaster.pid):
            if postmaster.poll() is not None:
                self._postmaster = None
                raise PostgresError(f"The server did not start.\n{self._log_end()}")
            if time.monotonic() > deadline:
                raise PostgresError(f"Not ready after {START_SECONDS} s.\n{self._log_end()}")
            time.sleep(0.005)

    def _log_end(self) -> str:
        return "\n".join(self.log.splitlines()[-20:])


_numbers = itertools.count(1)


def fresh_name(prefix: str = "test") -> str:
    """A database name nobody else uses, on a shared server neither."""
    return f"{prefix}_{os.getpid()}_{time.time_ns():x}_{next(_numbers)}"


def _quoted(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no plain database name: use [a-z_][a-z0-9_]*")
    return f'"{name}"'


def _says_ready(pid_file: Path, pid: int) -> bool:
    """The postmaster keeps its state in the eighth line; pg_ctl reads it there too."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def spawn_as_server(command: list[str], folder: Path, log: Any) -> subprocess.Popen[bytes]:
    """Start a program that refuses root, in its folder."""
    user = server_user()
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)},
        start_new_session=True,  # Ctrl-C stops the tests, and they stop the server
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )


def server_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses root; everybody else runs it as himself."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


@cache
def readable_by_server_user(binaries: PostgresBinaries) -> Path:
    """The folder of the binaries, or of a copy if they lie where only root can read.

    A copy is made once for each test worker and removed at its end.
    """
    if server_user() is None or _all_may_enter(binaries.folder):
        return binaries.folder
    copy = Path(tempfile.mkdtemp(prefix="kaiju-pg-binaries-", dir=_shared_tmp()))
    copy.chmod(0o755)
    _removed_at_the_end.append(OrphanGuard('rm -rf "$1"', str(copy)))
    shutil.copytree(binaries.root, copy / "root", symlinks=True)
    (copy / "root").chmod(0o755)
    return copy / "root" / binaries.folder.relative_to(binaries.root)


_removed_at_the_end: list[OrphanGuard] = []
_data: dict[PostgresBinaries, Path] = {}
"""What initdb made, once in each test worker."""


def _given_to_server_user(folder: Path) -> None:
    if (user := server_user()) is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)


@cache
def _shared_tmp() -> Path:
    """A temporary folder that the server's user can enter too."""
    for folder in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if server_user() is None or _all_may_enter(folder):
            return folder
    raise PostgresError("No temporary folder can be entered by the user `nobody`.")


def _all_may_enter(folder: Path) -> bool:
    return all(step.stat().st_mode & 0o005 == 0o005 for step in (folder, *folder.parents))
