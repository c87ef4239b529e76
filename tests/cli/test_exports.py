"""The public names."""

import importlib
import subprocess
import sys

import kaiju_tasks


def test_the_public_names_are_these() -> None:
    assert kaiju_tasks.__all__ == [
        "Abort",
        "BatchCall",
        "Client",
        "Command",
        "Context",
        "Depends",
        "Executor",
        "ExitCode",
        "KaijuError",
        "Limit",
        "Message",
        "NewTask",
        "RestartPolicy",
        "RetryAfter",
        "SyncClient",
        "Task",
        "TaskCommand",
        "TaskStatus",
        "Tasks",
        "Timer",
        "__version__",
    ]


def test_every_public_name_is_there_and_in_its_home() -> None:
    for name in kaiju_tasks.__all__:
        assert getattr(kaiju_tasks, name) is not None
        assert name in dir(kaiju_tasks)
    assert kaiju_tasks.Client is importlib.import_module("kaiju_tasks.client").Client


def test_an_unknown_name_is_an_attribute_error() -> None:
    code = "import kaiju_tasks\ntry:\n    kaiju_tasks.Nope\nexcept AttributeError:\n    pass"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_the_package_imports_little() -> None:
    code = (
        "import sys, kaiju_tasks\n"
        "sys.exit(bool({'aiohttp', 'asyncpg', 'msgspec', 'asyncio'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
