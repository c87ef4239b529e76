"""`kaiju-tasks run`: one pipeline from a file, with a manager and executors of its own."""

import sys
from typing import Any

import click

from kaiju_tasks.cli.completion import complete_file
from kaiju_tasks.cli.fail import USAGE, Failed, Interrupted, when_interrupted
from kaiju_tasks.cli.files import read_pairs, read_task
from kaiju_tasks.cli.output import print_json
from kaiju_tasks.cli.text import one_line

__all__ = ["run"]

SAMPLES = "kaiju_tasks.samples:executor"
SCHEDULE = ("cron", "every", "next_run", "delay")


@click.command(short_help="Run the pipeline of FILE here and now.")
@click.argument("file", shell_complete=complete_file)
@click.option(
    "--executor",
    "places",
    multiple=True,
    metavar="MODULE:ATTR",
    default=(SAMPLES,),
    show_default=True,
    help="Has the commands; can be given several times.",
)
@click.option("--kw", "kws", multiple=True, metavar="NAME=JSON", help="An entry of `kws`.")
@click.option(
    "--message",
    "messages",
    multiple=True,
    metavar="NAME=JSON",
    help="Send this message to the run at once; it is kept until its hook is reached. "
    "`=JSON` is one without a name.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole task, for programs.")
def run(
    file: str,
    places: tuple[str, ...],
    kws: tuple[str, ...],
    messages: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Run the pipeline of FILE (JSON or YAML, `-` is standard input) here and now.

    Nothing is kept: manager, database and executors live in this process. The result of the last
    stage is printed, progress goes to stderr, and the run's exit code is this command's. Ctrl-C
    cancels. A Message hook is answered by --message, or by typing on a terminal; without either the
    run ends with 2, unless the hook has a max_timeout.
    """
    data = _read(file, kws)
    pairs = read_pairs(messages, "--message")

    from kaiju_tasks.cli.logs import show_warnings
    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.cli.pipeline import Pipeline
    from kaiju_tasks.cli.progress import make_progress
    from kaiju_tasks.errors import KaijuError
    from kaiju_tasks.executor.load import LoadError, load_executor
    from kaiju_tasks.executor.runtime import by_app_name

    show_warnings()
    try:
        executors = [load_executor(place) for place in dict.fromkeys(places)]
        by_app_name(executors)
    except (LoadError, ValueError) as error:
        raise Failed(f"{error}.", USAGE) from error
    try:
        pipeline = Pipeline(data, executors, pairs, make_progress(quiet))
        with when_interrupted("Stopped; the run has ended and nothing of it is kept."):
            task = run_loop(pipeline.run())
    except KaijuError as error:
        field = f"{error.data['field']}: " if "field" in error.data else ""
        said = str(error) if field.rstrip(": ") in str(error) else f"{field}{error}"
        raise Failed(f"{file}: {said}", USAGE if error.code == -32602 else 1, error) from error
    _print(task, as_json)
    if pipeline.interrupted and task["exit_code"]:
        raise Interrupted(
            f"Stopped; the run was cancelled after {task['stage']} of {task['stages']} stages and "
            "nothing of it is kept."
        )
    sys.exit(task["exit_code"])


def _read(file: str, kws: tuple[str, ...]) -> dict[str, Any]:
    data = read_task(file)
    for field in SCHEDULE:
        if data.get(field) is not None:
            raise Failed(
                f"{file}: `{field}` says when, but `run` is now; "
                "for that take `kaiju-tasks task create` and a manager.",
                USAGE,
            )
    if kws:
        old = data.get("kws")
        data["kws"] = {**(old if isinstance(old, dict) else {}), **dict(read_pairs(kws, "--kw"))}
    return data


def _print(task: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(task)
    elif task["exit_code"] == 0:
        print_json(task["result"][-1])
    else:
        error = task["error"]
        stage = "" if error["stage"] is None else f"stage {error['stage']}: "
        click.echo(one_line(f"{stage}{error['type']}: {error['message']}"), err=True)
