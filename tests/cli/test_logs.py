"""Log lines, as text and as JSON."""

import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.cli.logs import JsonFormatter, TextFormatter
from kaiju_tasks.rights import Kind, new_token
from tests.support.processes import ROOT, Processes

HEAD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    x\.y: ")


def _record(message: str = "downloaded", **extra: Any) -> logging.LogRecord:
    return logging.getLogger("x.y").makeRecord(
        "x.y", logging.INFO, __file__, 1, "%s", (message,), None, extra=extra
    )


def _text(message: str = "downloaded", **extra: Any) -> str:
    line = TextFormatter().format(_record(message, **extra))
    head = HEAD.match(line)
    assert head is not None
    return line[head.end() :]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("https://a.example/b?c", "https://a.example/b?c"),
        ("two words", '"two words"'),
        ("", '""'),
        ('say "x"', r'"say \"x\""'),
        ("a=b", '"a=b"'),
        ("line\nbreak", r'"line\nbreak"'),
        ("\x1b[31mred\u202e", r'"\u001b[31mred\u202e"'),
        ("ключ", "ключ"),
        ("\ud800", r'"\ud800"'),
        (5, "5"),
        (True, "true"),
        (None, "null"),
        ({"a": [1]}, '{"a":[1]}'),
        (Path("/a"), "/a"),
        ("\x1b[m", r'"\u001b[m"'),
    ],
)
def test_an_extra_field_is_a_pair_at_the_end_of_a_text_line(value: Any, shown: str) -> None:
    assert _text(url=value) == f"downloaded url={shown}"


def test_fields_that_a_command_logs_are_pairs_of_their_own() -> None:
    assert _text(task_id="t", fields={"url": "u", "ms": 5}) == "downloaded task_id=t url=u ms=5"


def test_a_text_line_without_extra_fields_has_no_pairs() -> None:
    assert _text("50 % of x=1") == "50 % of x=1"


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text(), max_size=3))
def test_whatever_is_logged_stays_on_one_line(message: str, fields: dict[str, str]) -> None:
    text = TextFormatter().format(_record(message, fields=fields))
    assert text.isprintable()
    encoded = JsonFormatter().format(_record(message, fields=fields))
    assert "\n" not in encoded
    assert json.loads(encoded.encode())["fields"].keys() == fields.keys()


def test_a_value_that_json_cannot_hold_does_not_lose_the_line() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    line = json.loads(JsonFormatter().format(_record("kept", ring=ring, text="\ud800", big=2**70)))
    assert (line["message"], line["ring"], line["big"]) == ("kept", "[1, [...]]", 2**70)
    assert _text("kept", ring=ring) == 'kept ring="[1, [...]]"'


def test_a_traceback_stands_below_the_line() -> None:
    record = _record(url="u")
    try:
        raise ValueError("wrong")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    first, *rest = TextFormatter().format(record).splitlines()
    assert first.endswith("downloaded url=u")
    assert (rest[0], rest[-1]) == ("Traceback (most recent call last):", "ValueError: wrong")


async def test_a_pipeline_without_a_manager_shows_warnings_with_their_fields(
    processes: Processes, tmp_path: Path
) -> None:
    (tmp_path / "noisy.py").write_text(
        "from kaiju_tasks import Context, Executor\n"
        'executor = Executor("default")\n'
        '@executor.command("noisy.get")\n'
        "async def get(ctx: Context) -> None:\n"
        '    ctx.log("slow", level="warning", seconds=5)\n'
        '    ctx.log("done", url="u")\n'
    )
    (tmp_path / "task.json").write_text('[{"method": "noisy.get"}]')
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    path = str(tmp_path / "task.json")
    run = processes.kaiju("run", path, "--executor", "noisy:executor", env=env)
    assert await run.ended(30) == 0, run.log
    (line,) = [line for line in run.log.splitlines() if "noisy" in line and "WARNING" in line]
    assert line.endswith(" method=noisy.get seconds=5")
    assert "url=u" not in run.log


@pytest.mark.parametrize("process", [False, True], ids=["coroutine", "process"])
async def test_what_a_command_logs_is_in_the_log_with_its_fields(
    processes: Processes, tmp_path: Path, process: bool
) -> None:
    (tmp_path / "noisy.py").write_text(
        "from kaiju_tasks import Context, Executor\n"
        'executor = Executor("default")\n'
        f'@executor.command("noisy.get", process={process})\n'
        f"{'' if process else 'async '}def get(ctx: Context) -> None:\n"
        '    ctx.log("downloaded", url="https://a.example", size=5, note="two words")\n'
    )
    (tmp_path / "task.json").write_text('{"id": "t", "commands": [{"method": "noisy.get"}]}')
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    manager = processes.kaiju("serve", "--port", "0", "--executor", "noisy:executor", env=env)
    ready = await manager.logged(r"^kaiju-tasks \S+ at (\S+) ")
    path = str(tmp_path / "task.json")
    create = processes.kaiju("task", "create", path, "--watch", env={"KAIJU_URL": ready[1]})
    assert await create.ended(30) == 0, create.log
    await manager.logged(
        r" INFO +kaiju_tasks\.executor\.command: downloaded task_id=t job_id=\S+ "
        r"app_name=default stage=0 attempt=1 method=noisy\.get url=https://a\.example size=5 "
        r'note="two words"$'
    )


async def test_variables_of_kubernetes_are_logged_once_with_an_executor(
    processes: Processes,
) -> None:
    serve = processes.kaiju(
        "serve",
        *("--port", "0", "--db", "sqlite://:memory:", "--executor", "kaiju_tasks.samples:executor"),
        env={"KAIJU_SERVICE_HOST": "10.0.0.1", "KAIJU_PORT": "tcp://10.0.0.1:80"},
    )
    await serve.logged("connected to manager")
    assert serve.log.count("ignoring environment variables that Kubernetes sets") == 1
    assert "KAIJU_PORT, KAIJU_SERVICE_HOST" in serve.log


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_a_token_is_cut_to_its_name_wherever_it_is(formatter: logging.Formatter) -> None:
    token = new_token(Kind.ADMIN, os.urandom)
    record = _record(f"refused {token}", header=f"Bearer {token}", key=token)
    try:
        raise ValueError(f"bad header: {token}")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = formatter.format(record)
    assert token[18:] not in line
    assert line.count(token[:17]) >= 4
