"""Parameters are filled, and conditions decided, as the library does."""

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from kaiju_tasks.conformance.cases.case import Case, Under, cases, echo
from kaiju_tasks.conformance.peer import Deviation, Json
from kaiju_tasks.conformance.report import Level
from kaiju_tasks.templates import OWN_ROOTS, compile_condition, compile_template

__all__ = ["CASES", "vectors"]

AT_ONCE = 50
PROBLEMS_SHOWN = 5


@cache
def vectors() -> Json:
    """The vectors: `data`, `templates` and `conditions`."""
    found: Json = msgspec.json.decode(
        (files("kaiju_tasks.conformance") / "vectors.json").read_bytes()
    )
    return found


async def every_template_is_filled_as_in_the_vectors(under: Under) -> None:
    """Each template gives its output, or fails with template_error and the missing `data.path`."""
    wanted = [vector for vector in vectors()["templates"] if is_for_executors(vector)]
    reports = await run(under, [echo(vector["template"]) for vector in wanted])
    check(wanted, [problem_of(vector, one) for vector, one in zip(wanted, reports, strict=True)])


async def every_condition_is_decided_as_in_the_vectors(under: Under) -> None:
    """Each condition of the vectors runs its stage, skips it, or fails with template_error."""
    wanted = [vector for vector in vectors()["conditions"] if is_for_executors(vector)]
    commands = [echo("ran", condition=vector["condition"]) for vector in wanted]
    reports = await run(under, commands)
    problems = []
    for vector, report in zip(wanted, reports, strict=True):
        if "error" in vector:
            problems.append(problem_of(vector, report))
        else:
            state = "finished" if vector["holds"] else "skipped"
            problems.append(None if report["state"] == state else f"it is {report['state']!r}")
    check(wanted, problems)


async def results_of_earlier_stages_are_data(under: Under) -> None:
    """The results of own stages are read by index and by name, and skipped ones are null."""
    task = under.manager.task(
        echo({"a": 1}, name="first"),
        echo("never", condition={"first.a": 2}, name="second"),
        echo(["[0.a]", "[first.a]", "[1]", "[second]", "[id]", "[job_id]", "[kws.x]"]),
        kws={"x": "y"},
    )
    await under.manager.connect()
    await under.manager.push(task)
    report = await under.manager.end(task, 3)
    expected = [1, 1, None, None, task["id"], task["job_id"], "y"]
    if report.get("result") != expected:
        raise Deviation(f"the third stage has {report.get('result')!r} instead of {expected!r}")


def is_for_executors(vector: Json) -> bool:
    """Whether the executor under test can be given this vector. Malformed ones are refused when the
    task is created; the ids of the task and the executor's own data are others than there."""
    if vector.get("error", {}).get("at", "fill") != "fill":
        return False
    if "condition" in vector:
        refs = compile_condition(vector["condition"]).refs
    else:
        refs = compile_template(vector["template"]).refs
    return not OWN_ROOTS.difference({"kws"}).intersection(refs)


async def run(under: Under, commands: list[Json]) -> list[Json]:
    """Run each command as a task of its own, with the data of the vectors."""
    manager = under.manager
    await manager.connect()
    data = dict(vectors()["data"])
    fields: Json = {"kws": data.pop("kws")}
    for name in ("id", "job_id", "executor", "scheduled_at"):
        data.pop(name, None)
    reports: list[Json] = []
    for start in range(0, len(commands), AT_ONCE):
        tasks = [
            manager.task(command, results=data, stage=5, **fields)
            for command in commands[start : start + AT_ONCE]
        ]
        for task in tasks:  # one at a time, whatever the capacity is
            await manager.push(task)
            reports.append(await manager.end(task))
    return reports


def problem_of(vector: Json, report: Json) -> str | None:
    """How a report deviates from a vector."""
    if "error" in vector:
        error = report.get("error") or {}
        if error.get("type") != "template_error":
            return f"it is {report['state']!r} with {error.get('type')!r}"
        path, expected = (error.get("data") or {}).get("path"), vector["error"].get("path")
        return None if path == expected else f"`data.path` is {path!r} instead of {expected!r}"
    if report["state"] != "finished":
        return f"it is {report['state']!r}: {(report.get('error') or {}).get('message')}"
    got, expected = report.get("result"), vector["output"]
    return None if same(got, expected) else f"it is {got!r} instead of {expected!r}"


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    return msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")


def check(wanted: list[Json], problems: list[str | None]) -> None:
    """:raises Deviation: names the first vectors that deviate"""
    found = [
        f"{vector['name']!r}: {problem}"
        for vector, problem in zip(wanted, problems, strict=True)
        if problem is not None
    ]
    if found:
        shown = "; ".join(found[:PROBLEMS_SHOWN])
        raise Deviation(f"{len(found)} of {len(wanted)} vectors deviate: {shown}")


CASES: tuple[Case, ...] = cases(
    Level.TEMPLATES,
    every_template_is_filled_as_in_the_vectors,
    every_condition_is_decided_as_in_the_vectors,
    results_of_earlier_stages_are_data,
)
