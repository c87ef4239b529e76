"""A password in a URL is in no message and in no log line."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kaiju_tasks import Client, SyncClient
from kaiju_tasks.address import hide_password, read_url
from kaiju_tasks.cli.main import cli
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.forward import ForwardExecutor
from kaiju_tasks.executor.process import run_executor
from tests.cli import walk
from tests.executor.commands import executor as commands
from tests.support.processes import Processes

CANARY = "kanarienvogel"
MANAGERS = [
    f"http://user:{CANARY}@127.0.0.1:9",
    f"https://{CANARY}@127.0.0.1:9/rpc",
    f"http://:{CANARY}@127.0.0.1:9",
]
MALFORMED = [
    f"user:{CANARY}@127.0.0.1:9",
    f"http://user:{CANARY}/1@127.0.0.1:9",
    f"http://user:{CANARY}#1@127.0.0.1:9",
    f"http://user:{CANARY}@127.0.0.1:port",
    f"http://user:{CANARY}@a b",
    f"http://user:{CANARY}@",
    f"ftp://user:{CANARY}@127.0.0.1:9",
]


@pytest.mark.parametrize("url", [*MANAGERS, *MALFORMED])
@pytest.mark.parametrize(
    "open_",
    [
        Client,
        SyncClient,
        lambda url: asyncio.run(run_executor(commands, url, handle_signals=False)),
    ],
    ids=["Client", "SyncClient", "run_executor"],
)
def test_python_refuses_it(
    open_: Callable[[str], Any], url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(InvalidParams) as refused:
        open_(url)
    assert CANARY not in f"{refused.value}{refused.value.data}{caplog.text}"
    assert ("KAIJU_TOKEN" in str(refused.value)) == (url in MANAGERS)


@pytest.mark.parametrize("url", [*MANAGERS, *MALFORMED])
def test_every_command_that_calls_a_manager_refuses_it(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAIJU_URL", url)
    for leaf in walk.asking(tmp_path):
        for more in ((), ("--json",)):
            ended = CliRunner().invoke(cli, [*leaf.words, *more])
            assert ended.exit_code == 2, leaf
            assert CANARY not in ended.output, leaf
            assert "KAIJU_URL must" in ended.stderr, leaf


@pytest.mark.parametrize("url", [MANAGERS[0], MALFORMED[0]])
async def test_the_executor_command_refuses_it(processes: Processes, url: str) -> None:
    place = ("executor", "kaiju_tasks.samples:executor")
    for process in (
        processes.kaiju(*place, "--manager", url),
        processes.kaiju(*place, env={"KAIJU_URL": url}),
    ):
        assert await process.ended() == 2
        assert CANARY not in process.log
        assert "must" in process.log


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url_of_a_service_is_shown_without_it(url: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        ForwardExecutor("app", url)
    ended = CliRunner().invoke(cli, ["executor", "--forward", url])
    assert ended.exit_code == 2
    assert CANARY not in f"{refused.value}{refused.value.data}{ended.output}"


def test_a_malformed_url_is_shown_with_its_host() -> None:
    with pytest.raises(InvalidParams, match=r"not 'http://\*\*\*@127.0.0.1:port'"):
        read_url(f"http://user:{CANARY}@127.0.0.1:port", "url")
    with pytest.raises(InvalidParams, match=r"did you mean 'http://127.0.0.1:9'\?"):
        read_url("127.0.0.1:9", "url")


def test_it_is_hidden_in_a_text() -> None:
    text = f"cannot call http://user:{CANARY}@host/a@b and https://{CANARY}@other?c=@"
    assert hide_password(text) == "cannot call http://***@host/a@b and https://***@other?c=@"
