"""The guards, and for each the tests of which at least one fails without it."""

from typing import NamedTuple

CORE = ("tests/core/test_lifecycle_runs.py", "tests/core/test_lifecycle_control.py")
SIMULATION = ("tests/simulation/test_simulation.py",)


class Guard(NamedTuple):
    """A check that is removed by replacing a text.

    :param path: a file below `kaiju_tasks/`
    :param text: occurs once in the file
    :param without: the text without the guard
    :param tests: files of tests
    """

    name: str
    path: str
    text: str
    without: str
    tests: tuple[str, ...]


GUARDS = [
    Guard(
        "a report has the nonce of the lease",
        "lifecycle/move.py",
        "row.nonce == lease.nonce\n",
        "True\n",
        CORE,
    ),
    Guard(
        "a report has the epoch of the lease",
        "lifecycle/move.py",
        "and row.epoch == lease.epoch\n",
        "\n",
        CORE,
    ),
    Guard(
        "a report has the job id of the run",
        "lifecycle/move.py",
        "and row.job_id == lease.job_id\n",
        "\n",
        CORE,
    ),
    Guard(
        "a report is of the current stage",
        "lifecycle/handlers/executors.py",
        "if event.stage == stage and move.holds(event.lease):",
        "if move.holds(event.lease):",
        CORE,
    ),
    Guard(
        "only the executor that holds the lease can lose it",
        "lifecycle/handlers/executors.py",
        "row.executor_id != event.executor_id\n        or ",
        "",
        (*CORE, *SIMULATION),
    ),
    Guard(
        "leases are given back by their epoch",
        "lifecycle/handlers/executors.py",
        "or event.epoch not in (None, row.epoch)\n",
        "\n",
        CORE,
    ),
    Guard(
        "only a ready task is acquired",
        "lifecycle/handlers/executors.py",
        "if not acquirable(move.row):",
        "if False:",
        CORE,
    ),
    Guard(
        "a paused task is not acquired",
        "lifecycle/handlers/executors.py",
        "elif move.pause is not None:\n        move.queue()",
        "elif False:\n        move.queue()",
        ("tests/manager/test_pauses.py", *CORE),
    ),
    Guard(
        "a stage that lost three executors ends the run",
        "lifecycle/handlers/executors.py",
        "if row.losses >= QUARANTINE_LOSSES:",
        "if False:",
        CORE,
    ),
    Guard(
        "a session fences acquisition on PostgreSQL",
        "store/postgres/queries.sql",
        "SELECT e.id FROM executors e WHERE e.id = $3::text AND e.session = $4::text\n"
        "        AND e.status = 'ACTIVE' FOR KEY SHARE),\n"
        "locked AS MATERIALIZED (\n"
        "    SELECT {tasks.of t} FROM tasks t\n"
        "    WHERE EXISTS (SELECT FROM me) AND t.app_name = $1::text AND t.ready = 1",
        "SELECT e.id FROM executors e WHERE e.id = $3::text AND $4::text IS NOT NULL\n"
        "        AND e.status = 'ACTIVE' FOR KEY SHARE),\n"
        "locked AS MATERIALIZED (\n"
        "    SELECT {tasks.of t} FROM tasks t\n"
        "    WHERE EXISTS (SELECT FROM me) AND t.app_name = $1::text AND t.ready = 1",
        ("tests/store/test_acquiring.py",),
    ),
    Guard(
        "an acquisition waits for a session that another transaction replaces",
        "store/postgres/queries.sql",
        "AND e.status = 'ACTIVE' FOR KEY SHARE),\n"
        "locked AS MATERIALIZED (\n"
        "    SELECT {tasks.of t} FROM tasks t\n"
        "    WHERE EXISTS (SELECT FROM me) AND t.app_name = $1::text AND t.ready = 1",
        "AND e.status = 'ACTIVE'),\n"
        "locked AS MATERIALIZED (\n"
        "    SELECT {tasks.of t} FROM tasks t\n"
        "    WHERE EXISTS (SELECT FROM me) AND t.app_name = $1::text AND t.ready = 1",
        ("tests/store/test_acquiring.py", "tests/store/test_postgres_waits.py"),
    ),
    Guard(
        "a unique key has one holder",
        "store/sqlite/queries.sql",
        "INSERT INTO claims (key, task_id) VALUES (?, ?) ON CONFLICT (key) DO NOTHING",
        "INSERT INTO claims (key, task_id) VALUES (?, ?) ON CONFLICT (key) DO UPDATE "
        "SET task_id = excluded.task_id",
        ("tests/store/test_claims.py",),
    ),
    Guard(
        "a repeated message is a duplicate",
        "lifecycle/handlers/inbox.py",
        "if not move.task.has_received(event.message_id):",
        "if True:",
        ("tests/core/test_lifecycle_hooks.py",),
    ),
    Guard(
        "a repeated acquisition looks for the leases of the try before",
        "manager/executors/acquisition.py",
        "self._in_doubt = True\n",
        "\n",
        ("tests/manager/executors", *SIMULATION),
    ),
    Guard(
        "an executor that reconnects elsewhere ends its old session",
        "manager/executors/roster.py",
        "if session is None or session.executor_id != params.id or not session.open:",
        "if session is None:",
        ("tests/manager/executors/test_presence.py",),
    ),
    Guard(
        "no executor is expelled right after an outage",
        "manager/executors/roster.py",
        "if self._uptime.seconds_until_expel() <= 0:",
        "if True:",
        ("tests/manager/executors", *SIMULATION),
    ),
    Guard(
        "a stage begins only if a manager has answered lately",
        "executor/start_gate.py",
        "self._open_seconds - (now - asked.time),\n",
        "\n",
        ("tests/executor/test_start_gate.py", *SIMULATION),
    ),
    Guard(
        "a stage begins only if the process has not stood still",
        "executor/start_gate.py",
        "self.stall_seconds - (now - self.beat_at),\n",
        "\n",
        ("tests/executor/test_start_gate.py", *SIMULATION),
    ),
]
