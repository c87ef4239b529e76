"""What the environment of a container holds besides settings."""

import json
import signal
from pathlib import Path

import pytest

from tests.support.processes import Processes

SERVICE = {
    "KAIJU_SERVICE_HOST": "10.0.0.1",
    "KAIJU_SERVICE_PORT": "8077",
    "KAIJU_PORT": "tcp://10.0.0.1:8077",
    "KAIJU_DB_PORT_5432_TCP": "tcp://10.0.0.2:5432",
}


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "0", "--db", "sqlite://:memory:"),
        ("executor", "kaiju_tasks.samples:executor", "--manager", "http://127.0.0.1:9"),
    ],
    ids=["serve", "executor"],
)
async def test_a_pod_beside_a_service_named_kaiju_starts_and_logs_one_line(
    processes: Processes, arguments: tuple[str, ...]
) -> None:
    process = processes.kaiju(*arguments, "--log-format", "json", env=SERVICE)
    await process.logged(r"^kaiju-tasks \S+ at |will reconnect")
    process.send(signal.SIGTERM)
    assert await process.ended() == 0
    lines = [line for line in process.log.splitlines() if "KAIJU_" in line]
    assert len(lines) == 1
    message = json.loads(lines[0])["message"]
    assert message.endswith(
        "Services: KAIJU_DB_PORT_5432_TCP, KAIJU_PORT, KAIJU_SERVICE_HOST, KAIJU_SERVICE_PORT"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve",),
        ("executor", "kaiju_tasks.samples:executor"),
        ("run", "task.json"),
        ("db", "status"),
    ],
    ids=" ".join,
)
async def test_a_setting_misspelt_beside_a_service_is_still_refused(
    processes: Processes, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "task.json").write_text('[{"method": "do.echo"}]')
    words = [str(tmp_path / word) if word == "task.json" else word for word in arguments]
    env = {**SERVICE, "KAIJU_PROT": "8077"}
    process = processes.kaiju(*words, env=env)
    assert await process.ended() == 2
    refusal = "Unknown setting KAIJU_PROT (in the environment). Did you mean KAIJU_PORT?"
    assert process.log.splitlines() == [refusal]
