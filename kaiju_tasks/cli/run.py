"""`kaiju-tasks run`: run one pipeline from a file, with its own manager and executors."""

import sys
from typing import Any

import click

from kaiju_tasks.cli.completion import complete_file
from kaiju_tasks.cli.fail import USAGE, Failed, Interrupted, when_interrupted
from kaiju_tasks.cli.files import read_fields, read_pairs, read_task
from kaiju_tasks.cli.output import error_line, print_json
from kaiju_tasks.cli.stage import failed_stage

__all__ = ["run"]

SAMPLES = "kaiju_tasks.samples:executor"
SCHEDULE = ("cron", "every", "next_run", "delay")


@click.command(short_help="Run the pipeline of FILE in this process.")
@click.argument("file", shell_complete=complete_file)
@click.option(
    "--executor",
    "places",
    multiple=True,
    metavar="MODULE:ATTR",
    default=(SAMPLES,),
    show_default=True,
    help="An executor with the commands. Can be repeated.",
)
@click.option("--kw", "kws", multiple=True, metavar="NAME=JSON", help="An entry of `kws`.")
@click.option(
    "--message",
    "messages",
    multiple=True,
    metavar="NAME=JSON",
    help="Send this message to the run at its start. It is kept until the run reaches its hook. "
    "`=JSON` sends a message without a name.",
)
@click.option("--quiet", is_flag=True, help="Print no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole task as JSON for programs.")
def run(
    file: str,
    places: tuple[str, ...],
    kws: tuple[str, ...],
    messages: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Run the pipeline of FILE (JSON or YAML; `-` is standard input) in this process.

    The manager, the database and the executors live in this process, and nothing is kept. The
    command prints the result of the last stage, prints progress to stderr, and exits with the run's
    exit code. Ctrl-C cancels the run. Answer a Message hook with --message, or type the answer on
    the terminal. Without either, the run ends with exit code 2, unless the hook has a max_timeout.
    """
    data = _read(file, kws)
    pairs = read_pairs(messages, "--message")

    from kaiju_tasks.cli.logs import show_warnings
    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.cli.pipeline import Pipeline
    from kaiju_tasks.cli.progress import make_progress
    from kaiju_tasks.cli.settings import read_settings
    from kaiju_tasks.errors import KaijuError
    from kaiju_tasks.executor.load import LoadError, load_executor
    from kaiju_tasks.executor.runtime import by_app_name

    show_warnings()
    settings = read_settings(None, {})
    try:
        executors = [load_executor(place) for place in dict.fromkeys(places)]
        by_app_name(executors)
    except (LoadError, ValueError) as error:
        raise Failed(f"{error}.", USAGE) from error
    try:
        progress = make_progress(quiet)
        pipeline = Pipeline(data, executors, pairs, progress, settings)
        with when_interrupted("Stopped. The run has ended, and nothing of it is kept."):
            task = run_loop(pipeline.run())
    except KaijuError as error:
        field = f"{error.data['field']}: " if "field" in error.data else ""
        text = str(error) if field.rstrip(": ") in str(error) else f"{field}{error}"
        raise Failed(f"{file}: {text}", USAGE if error.code == -32602 else 1, error) from error
    _print(task, as_json, shown=progress.shown_error)
    if pipeline.interrupted and task["exit_code"]:
        raise Interrupted(
            f"Stopped. The run was cancelled after {task['stage']} of {task['stages']} stages, and "
            "nothing of it is kept."
        )
    sys.exit(task["exit_code"])


def _read(file: str, kws: tuple[str, ...]) -> dict[str, Any]:
    data = read_task(file)
    for field in SCHEDULE:
        if data.get(field) is not None:
            raise Failed(
                f"{file}: `run` starts the pipeline now and cannot use `{field}`. "
                "To schedule it, use `kaiju-tasks task create` with a manager.",
                USAGE,
            )
    if kws:
        old = data.get("kws")
        data["kws"] = {**(old if isinstance(old, dict) else {}), **read_fields(kws, "--kw")}
    return data


def _print(task: dict[str, Any], as_json: bool, shown: str | None) -> None:
    """:param shown: the last error that the progress has shown; it is not printed again"""
    if as_json:
        print_json(task)
    elif task["exit_code"] == 0:
        print_json(task["result"][-1])
    elif (line := error_line(task["error"])) != shown:
        stage = failed_stage(task)
        click.echo(f"{stage}: {line}" if stage else line, err=True)
