"""Fixtures for everybody: databases, stores, processes, ports."""

import os
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.examples import QUICK
from tests.support.hanging import ended_if_it_hangs
from tests.support.known_types import only_known_types
from tests.support.memory_folder import leave_memory, use_memory
from tests.support.ports import free_port
from tests.support.postgres import Postgres, PostgresServer, fresh_database
from tests.support.postgres_binaries import postgres_versions
from tests.support.processes import Processes
from tests.support.reused import ReusedDatabases, make_tables

EXTERNAL = "KAIJU_TEST_PG"
EVERY_VERSION = Path("tests/store")
"""The tests that may fail on one version of PostgreSQL and not on another: those of the store's
statements, and those marked `every_postgres`."""
LONG = (Path("tests/simulation/test_simulation.py"), Path("tests/system"))
"""The longest files, in the order in which they come first, so that workers end at about the same
time: the one that only computes runs beside those that mostly wait."""
NOT_QUICK = {"postgres_dsn", "postgres_server", "own_postgres_server", "processes"}
"""Fixtures that start a database server or processes."""

hypothesis.settings.register_profile(
    "kaiju",
    deadline=None,  # two test workers and a database share few cores
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile("kaiju")


def _hear_signals() -> None:
    """Let processes get the signals that a test run in the background ignores: it is ignored in
    the processes that it starts, too."""
    for number in (signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _keep_bytecode() -> None:
    """Let processes reuse compiled modules: otherwise each compiles the package when it starts,
    which takes as long as the rest of its start."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


_hear_signals()
_keep_bytecode()
use_memory()


def pytest_unconfigure() -> None:
    leave_memory()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-postgres",
        action="store_true",
        help="run the tests of the stores, and those marked `every_postgres`, on every PostgreSQL "
        "version at hand, not only the default; all others send the statements that the tests of "
        "the stores test on every version",
    )

    parser.addoption(
        "--quick",
        action="store_true",
        help="run only what needs neither PostgreSQL nor processes and is not slow, with fewer "
        "examples",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick"):
        os.environ[QUICK] = "1"  # for the workers, too


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.path.relative_to(config.rootpath)))
    if config.getoption("--quick"):
        left_out = [item for item in items if not _is_quick(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _is_quick(item)]


def _rank(path: Path) -> int:
    return next((at for at, long in enumerate(LONG) if path.is_relative_to(long)), len(LONG))


def _is_quick(item: pytest.Item) -> bool:
    needs = set(getattr(item, "fixturenames", ()))
    return not needs & NOT_QUICK and item.get_closest_marker("slow") is None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store_kind" in metafunc.fixturenames:
        every = metafunc.config.getoption("--every-postgres") and _may_differ(metafunc)
        postgres = list(postgres_versions()) if every else ["postgres"]
        kinds = ["sqlite"] if metafunc.config.getoption("--quick") else ["sqlite", *postgres]
        metafunc.parametrize("store_kind", kinds)


def _may_differ(metafunc: pytest.Metafunc) -> bool:
    path = metafunc.definition.path.relative_to(metafunc.config.rootpath)
    marker = metafunc.definition.get_closest_marker("every_postgres")
    return path.is_relative_to(EVERY_VERSION) or marker is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    with ended_if_it_hangs():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"Tests are never skipped here, and this one was: {report.longrepr}"
    processes = getattr(item, "funcargs", {}).get("processes")
    if report.failed and isinstance(processes, Processes):
        for process in processes:
            report.sections.append((f"log of {process.name}", process.log_end))
    report.sections = [(name, _encodable(text)) for name, text in report.sections]
    return report


def _encodable(text: str) -> str:
    """The text, with lone surrogates escaped: a worker sends it as UTF-8."""
    return text.encode(errors="backslashreplace").decode()


class PostgresServers:
    """The servers of a session, each started when it is first asked for."""

    def __init__(self) -> None:
        self._started: dict[str, PostgresServer] = {}

    def get(self, version: str) -> PostgresServer:
        """The server of a version such as `postgres-15`."""
        if version not in self._started:
            server = PostgresServer(postgres_versions()[version])
            server.start()
            self._started[version] = server
        return self._started[version]

    def close(self) -> None:
        """Stop them all."""
        for server in self._started.values():
            server.close()


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[PostgresServers]:
    """A server for each version, started on demand; one set for each test worker."""
    servers = PostgresServers()
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def postgres_server(postgres_servers: PostgresServers) -> Postgres:
    """The session's PostgreSQL: the one KAIJU_TEST_PG names, else one of ours.

    Tests share it and must not stop it (that is `own_postgres_server`).
    """
    if dsn := os.environ.get(EXTERNAL):
        return Postgres(dsn)
    return postgres_servers.get(next(iter(postgres_versions())))


@pytest.fixture(scope="session")
def reused_databases(postgres_servers: PostgresServers) -> Iterator[ReusedDatabases]:
    """Databases that tests use one after another; dropped before their servers stop."""
    databases = ReusedDatabases()
    yield databases
    databases.close()


@pytest.fixture
def postgres_dsn(postgres_server: Postgres) -> Iterator[str]:
    """The DSN of a fresh, empty database."""
    yield from fresh_database(postgres_server)


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A server of the test's own, to restart and to kill."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def store_server(store_kind: str, request: pytest.FixtureRequest) -> Postgres | None:
    """The server of a kind of store; None for SQLite."""
    if store_kind == "sqlite":
        return None
    if store_kind == "postgres":
        return request.getfixturevalue("postgres_server")
    return request.getfixturevalue("postgres_servers").get(store_kind)


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with tables and no tasks."""
    path = tmp_path_factory.mktemp("sqlite") / "tables.db"
    make_tables(f"sqlite:///{path}")
    return path


@pytest.fixture
def store_url(
    store_server: Postgres | None,
    reused_databases: ReusedDatabases,
    sqlite_tables: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """The URL of a store without tasks; a test that uses it runs once on each kind of store."""
    only_known_types(monkeypatch)
    if store_server is None:
        shutil.copy(sqlite_tables, tmp_path / "tasks.db")
        yield f"sqlite:///{tmp_path}/tasks.db"
    else:
        with reused_databases.one(store_server) as dsn:
            yield dsn


@pytest.fixture
def new_store_url(store_server: Postgres | None, tmp_path: Path) -> Iterator[str]:
    """The URL of a store without tables."""
    if store_server is None:
        yield f"sqlite:///{tmp_path}/tasks.db"
    else:
        yield from fresh_database(store_server)


@pytest.fixture
def unused_tcp_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    return free_port()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Starts processes; all are killed at the end, and a failure shows their logs."""
    started = Processes(tmp_path)
    yield started
    started.close()
