"""`kaiju-tasks conformance`."""

import asyncio
import json

from tests.cli.conftest import Shell
from tests.conformance.wrong import naive


async def test_the_command_prints_text_and_json(shell: Shell) -> None:
    case = ("conformance", "--only", "reports-with-the-whole-token", "--seconds", "30")
    run = await asyncio.to_thread(shell.start, *case, "--", *naive("none"))
    assert run.returncode == 0
    assert "ok   core      reports-with-the-whole-token\n1 of 1 cases passed.\n" in run.stdout
    run = await asyncio.to_thread(
        shell.start, *case, "--jobs", "2", "--json", "--", *naive("nonce")
    )
    assert run.returncode == 1
    (found,) = json.loads(run.stdout)["cases"]
    assert (found["level"], found["name"]) == ("core", "reports-with-the-whole-token")
    assert "the token of the report" in found["problem"]
    run = await asyncio.to_thread(shell.start, *case, "--only", "x", "--", "true")
    assert run.returncode == 2
    assert "There is no case 'x'" in run.stderr
    run = await asyncio.to_thread(shell.start, *case, "--", "/no/such/program")
    assert run.returncode == 2
    assert "/no/such/program cannot be started" in run.stderr
