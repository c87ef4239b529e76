"""The sample executor: its toys, and the verification of installed packages."""

import base64
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from kaiju_tasks.executor import Context, Stopped
from kaiju_tasks.executor.context import StageInfo
from kaiju_tasks.executor.stage_tasks import StageTasks
from kaiju_tasks.samples import executor, list_distributions, report, verify
from kaiju_tasks.templates import compile_condition, compile_template
from kaiju_tasks.types import HOOKS, NewTask
from tests.executor.fakes import Rig, assignment, command, result_of
from tests.support.wait import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"


class Ear:
    def __init__(self) -> None:
        self.words: list[tuple[float, float | None]] = []
        self.silence_after: int | None = None

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        self.words.append((done, total))

    def check(self) -> None:
        if self.stopped():
            raise Stopped

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        raise AssertionError("nothing is logged")

    def extend(self, seconds: float) -> None:
        raise AssertionError("nothing is extended")

    def max_result_bytes(self) -> int:
        return 1_000_000

    def seconds_left(self) -> float:
        return 1.0

    def tasks(self) -> StageTasks:
        raise NotImplementedError

    def stopped(self) -> bool:
        return self.silence_after is not None and len(self.words) >= self.silence_after


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def ctx(ear: Ear) -> Context:
    info = StageInfo(
        task_id="t",
        job_id="j/1",
        app_name="default",
        method="m",
        stage=0,
        attempt=1,
        cycle=0,
        scheduled_at=None,
    )
    return Context(info, ear)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of packages: one package with one good, changed, missing, unhashed file."""
    folder = tmp_path / "site"
    info = folder / "thing-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Thing\nVersion: 1.2\n")
    lines = ["thing-1.2.dist-info/RECORD,,"]
    for name in ("good", "changed", "missing"):
        content = name.encode() * 1000
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name}.py,sha256={digest},{len(content)}")
        (folder / f"{name}.py").write_bytes(content)
    (info / "RECORD").write_text("\n".join(lines) + "\n")
    (folder / "changed.py").write_text("other")
    (folder / "missing.py").unlink()
    monkeypatch.setattr("sys.path", [str(folder)])
    return folder


def test_packages_are_listed_with_their_files(site, ctx):
    listed = list_distributions(ctx)
    assert (listed["count"], listed["files"], listed["names"]) == (1, 4, ["Thing"])


def test_verify_finds_what_changed_and_what_is_missing(site, ctx):
    verdict = verify(ctx)
    assert [finding.file for finding in verdict.mismatches] == ["changed.py"]
    assert [finding.file for finding in verdict.missing] == ["missing.py"]
    assert (verdict.files, verdict.verified, verdict.skipped) == (4, 1, 1)
    assert (verdict.mismatch_count, verdict.missing_count) == (1, 1)


def test_verify_says_how_far_it_is(site, ctx, ear):
    verify(ctx)
    assert ear.words == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_verify_can_be_stopped_between_files(site, ctx, ear):
    ear.silence_after = 2
    with pytest.raises(Stopped):
        verify(ctx)


@pytest.mark.parametrize(
    ("choice", "count"),
    [
        ({"names": ["Thing"]}, 1),
        ({"names": ["Other"]}, 0),
        ({"start": 1}, 0),
        ({"start": 0, "end": 1}, 1),
    ],
)
def test_verify_takes_a_part_of_the_packages(site, ctx, choice, count):
    assert verify(ctx, **choice).distributions == count


def test_the_report_is_written_twice_to_the_same_files(site, ctx, tmp_path):
    listed = msgspec.to_builtins(list_distributions(ctx))
    for _ in range(2):
        paths = report(ctx, listed, verify(ctx), folder=str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "packages-j_1.json",
        "packages-j_1.txt",
    ]
    assert "1 changed, 1 missing" in Path(paths["text"]).read_text()
    assert msgspec.json.decode(Path(paths["json"]).read_bytes())["summary"] == paths["summary"]


@pytest.mark.parametrize(
    "path", sorted(filter(Path.is_file, EXAMPLES.iterdir())), ids=lambda path: path.name
)
def test_the_examples_are_tasks_of_registered_commands(path: Path):
    task = msgspec.convert(yaml.safe_load(path.read_text()), NewTask)
    for step in task.commands:
        assert step.method in HOOKS or step.method in executor.commands
        compile_template(step.params)
        if step.condition is not None:
            compile_condition(step.condition)


async def test_the_example_pipeline_runs_on_this_machine(tmp_path):
    task = msgspec.json.decode((EXAMPLES / "verify_packages.json").read_bytes())
    first, second, _, last = (
        command(step["method"], name=step["name"], params=step.get("params", {}))
        for step in task["commands"]
    )
    async with Rig(executor) as rig:
        rig.runtime.max_result_bytes = 1024 * 1024
        rig.manager.run(assignment(first, second, app_name="default"))
        await wait_until(lambda: len(rig.manager.outcomes()) == 2, "two stages end")
        reports = [report for report in rig.manager.reports if report.state == "finished"]
        listed, verified = (result_of(report) for report in reports)
        assert listed["count"] == verified["distributions"] > 5
        assert verified["verified"] > 100
        results = {
            "listed": reports[0].result,
            "verified": reports[1].result,
            "reviewed": msgspec.Raw(b"null"),
        }
        rig.manager.run(assignment(last, app_name="default", stage=3, results=results))
        await wait_until(lambda: len(rig.manager.outcomes()) == 3, "the report is written")
        assert Path(result_of(rig.manager.reports[-1])["text"]).exists()


async def test_the_toys_do_what_they_say():
    async with Rig(executor) as rig:
        for task in (
            assignment(command("do.echo", params={"data": [1]}), app_name="default"),
            assignment(command("do.fail"), app_name="default"),
            assignment(command("do.flaky", params={"times": 1}), app_name="default"),
            assignment(command("do.flaky", params={"times": 1}), app_name="default", attempt=2),
            assignment(command("do.sleep", params={"seconds": 0}), app_name="default"),
            assignment(command("do.sleep_thread", params={"seconds": 0.01}), app_name="default"),
        ):
            rig.manager.run(task)
            await wait_until(partial(rig.manager.outcomes, task.id), "the stage ends")
        assert [state for _, state in rig.manager.outcomes()] == [
            "finished",
            "failed",
            "failed",
            "finished",
            "finished",
            "finished",
        ]
