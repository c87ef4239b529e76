"""Nothing that hangs at the end of an executor keeps its process."""

import pytest

from tests.support.processes import Processes
from tests.support.served import served


@pytest.mark.parametrize(
    ("hangs", "said"),
    [
        ("await", "the lifespan of the executor 'lasting' has not ended within 0.5 seconds"),
        ("shield", "the process has not ended within 1 seconds, and is ended now"),
        ("block", r"is ended now.*time\.sleep\(600\)"),
        ("thread", "the process has not ended within 1 seconds, and is ended now"),
    ],
)
async def test_an_executor_ends_although_its_lifespan_hangs(
    processes: Processes, hangs: str, said: str
) -> None:
    with served() as url:
        process = processes.kaiju(
            "executor", "tests.system.commands:lasting", "--manager", url,
            "--shutdown-grace", "0.5",
            env={"HANGS": hangs},
        )  # fmt: skip
        await process.logged("connected to manager")
        process.terminate()
        assert await process.ended() == 0
    await process.logged(said)
