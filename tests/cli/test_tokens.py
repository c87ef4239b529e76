"""Tokens, made on the database."""

import json
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kaiju_tasks.rights import Kind, read_token
from kaiju_tasks.store.open import make_store
from tests.cli.conftest import Invoke


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "tasks.db"
    monkeypatch.setenv("KAIJU_DB", f"sqlite:///{file}")
    return file


def printed(invoke: Invoke, *arguments: str) -> Any:
    result = invoke("token", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_token_is_created_listed_rotated_and_revoked(invoke: Invoke, db: Path) -> None:
    created = invoke("token", "create", "ann", "--kind", "user", "--stream", "billing.*")
    assert created.exit_code == 0, created.stderr
    token = created.stdout.strip()
    parts = read_token(token)
    assert parts is not None
    assert parts.kind is Kind.USER
    assert token not in created.stderr
    assert f"Token {parts.id} of ann (user) expires " in created.stderr
    (listed,) = printed(invoke, "list")
    assert (listed["id"], listed["scope"]) == (parts.id, {"streams": ["billing.*"]})
    assert token[-40:] not in invoke("token", "list", "--json").stdout
    assert invoke("token", "list").stdout.splitlines()[1].startswith(f"{parts.id}  ann")
    rotated = printed(invoke, "rotate", f"kt_u_{parts.id}", "--overlap", "1")
    assert rotated["scope"] == listed["scope"]
    assert invoke("token", "revoke", rotated["id"]).stdout == "revoked\n"
    old, new = printed(invoke, "list")
    assert old["successor"] == new["id"]
    assert new["revoked_at"] is not None


def test_every_limit_can_be_given(invoke: Invoke, db: Path) -> None:
    issued = printed(
        invoke, "create", "w", "--kind", "executor", "--stream", "a", "--stream", "b",
        "--method", "m.*", "--verb", "serve", "--message", "x", "--executor", "w-*",
        "--webhook-host", "h", "--stage", "tasks.get", "--capacity", "0", "--no-see-data",
        "--note", "n", "--days", "1.5",
    )  # fmt: skip
    assert issued["scope"] == {
        "streams": ["a", "b"], "methods": ["m.*"], "verbs": ["serve"], "message": ["x"],
        "executors": ["w-*"], "webhook_hosts": ["h"], "stages": ["tasks.get"], "capacity": 0,
        "see_data": False,
    }  # fmt: skip
    assert issued["expires_at"] - issued["created"] == 1.5 * 86_400
    assert issued["note"] == "n"


def test_a_principal_gets_quotas(invoke: Invoke, db: Path) -> None:
    printed(invoke, "create", "ann", "--kind", "user")
    set_ = invoke("token", "quota", "ann", "--open-tasks", "500", "--creates-per-second", "0.5")
    assert (set_.exit_code, set_.stdout) == (0, "open_tasks 500, creates_per_second 0.5\n")
    changed = printed(invoke, "quota", "ann", "--open-tasks", "default", "--pauses", "7")
    assert changed["quotas"] == {"creates_per_second": 0.5, "pauses": 7}
    back = ["--creates-per-second", "default", "--pauses", "default"]
    assert invoke("token", "quota", "ann", *back).stdout == "as the settings say\n"
    many = invoke("token", "quota", "ann", "--open-tasks", "12345678")
    assert many.stdout == "open_tasks 12345678\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["quota", "ann"], 2, "Give at least one of --open-tasks"),
        (["quota", "ann", "--pauses", "many"], 2, "neither a number"),
        (["quota", "ann", "--pauses", "-1"], 2, "neither a number"),
        (["quota", "ann", "--pauses", "inf"], 2, "neither a number"),
        (["quota", "ann", "--pauses", "0.5"], 2, "data.quotas.pauses"),
        (["quota", "ann", "--pauses", "5"], 1, "There is no principal 'ann'"),
        (["create", "no spaces", "--kind", "user"], 2, "principal` must be"),
        (["create", "ann"], 2, "To create it, `kind` is required"),
        (["create", "ann", "--kind", "boss"], 2, "'boss' is not one of"),
        (["create", "ann", "--kind", "user", "--stream", ""], 2, "scope.streams.0"),
        (["revoke", "nobody"], 1, "There is no token 'nobody'"),
        (["rotate", "nobody"], 1, "There is no token 'nobody'"),
        (["list", "--db", "mysql://x"], 2, "cannot be used"),
    ],
)
def test_wrong_arguments_are_explained(
    invoke: Invoke, db: Path, arguments: list[str], code: int, message: str
) -> None:
    refused = invoke("token", *arguments)
    assert refused.exit_code == code
    assert message.lower() in refused.stderr.lower()
    assert "Traceback" not in refused.stderr


async def test_a_database_that_a_manager_uses_gets_tokens_too(invoke: Invoke, db: Path) -> None:
    store = make_store(f"sqlite:///{db}")
    await store.open()
    try:
        issued = invoke_beside(invoke, "create", "ann", "--kind", "user")
        known = await store.credential(issued["id"])
        assert known.any_tokens
        assert known.token is not None
        revision = known.revision
        invoke_beside(invoke, "revoke", issued["id"])
        assert (await store.work_summary()).tokens_revision == revision + 1
    finally:
        await store.close()


def invoke_beside(invoke: Invoke, *arguments: str) -> Any:
    """Run a command in another thread: this one runs an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(printed, invoke, *arguments).result()


def test_no_secret_is_in_the_database(invoke: Invoke, db: Path) -> None:
    token = printed(invoke, "create", "ann", "--kind", "user")["token"]
    with closing(sqlite3.connect(db)) as connection:
        dump = "\n".join(connection.iterdump())
    assert token[:17] not in dump
    assert token[18:] not in dump


def test_the_files_of_a_database_are_its_owners_alone(invoke: Invoke, db: Path) -> None:
    printed(invoke, "create", "ann", "--kind", "user")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in db.parent.glob("tasks.db*")}
    assert modes == {"tasks.db": 0o600, "tasks.db.lock": 0o600}
