"""The sample executor with the stream `default`: some small commands, and one real job.

The real job verifies every Python distribution installed on the machine against the hashes in its
RECORD file (https://packaging.python.org/en/latest/specifications/recording-installed-packages/).
`examples/verify_packages.json` is a pipeline for this job.
"""

import asyncio
import base64
import hashlib
import re
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import Distribution, PackagePath, distributions
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from kaiju_tasks.executor import Context, Executor

__all__ = ["executor"]

executor = Executor("default")

Seconds = Annotated[float, Meta(ge=0, le=14_400)]
CHUNK_BYTES = 1024 * 1024
MAX_FINDINGS = 1_000


@executor.command("do.echo")
async def echo(data: Any = None) -> Any:
    """Return `data` unchanged."""
    return data


@executor.command("do.fail")
async def fail(message: str = "failed on request") -> None:
    """Raise an error with this message."""
    raise RuntimeError(message)


@executor.command("do.sleep")
async def sleep(seconds: Seconds) -> float:
    """Sleep, and return the number of seconds."""
    await asyncio.sleep(seconds)
    return seconds


@executor.command("do.sleep_thread")
def sleep_thread(seconds: Seconds, ctx: Context) -> float:
    """Sleep in a thread that can be stopped after each tenth of a second."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        ctx.check()
        time.sleep(min(left, 0.1))
    return seconds


@executor.command("do.flaky")
async def flaky(times: Annotated[int, Meta(ge=0)], ctx: Context) -> int:
    """Fail in the first `times` attempts, then return the number of the attempt."""
    if ctx.attempt <= times:
        raise RuntimeError(f"attempt {ctx.attempt} fails; the first {times} attempts fail")
    return ctx.attempt


class Listed(Struct):
    """One installed distribution."""

    name: str
    version: str
    files: int


class Finding(Struct):
    """A file that differs from its RECORD. `actual` is null if the file is missing."""

    distribution: str
    file: str
    expected: str
    actual: str | None


class Verdict(Struct):
    """The result of `dist.verify`. Each list has at most 1,000 entries; the counts include all."""

    distributions: int = 0
    files: int = 0
    verified: int = 0
    skipped: int = 0
    mismatch_count: int = 0
    missing_count: int = 0
    mismatches: list[Finding] = []
    missing: list[Finding] = []
    seconds: float = 0.0


@executor.command("dist.list")
def list_distributions(ctx: Context) -> dict[str, Any]:
    """List the installed distributions with their names, versions and numbers of files."""
    listed = []
    for name, distribution in _installed():
        ctx.check()
        listed.append(Listed(name, distribution.version, len(distribution.files or ())))
    return {
        "count": len(listed),
        "files": sum(item.files for item in listed),
        "names": [item.name for item in listed],
        "distributions": listed,
    }


@executor.command("dist.verify")
def verify(
    ctx: Context,
    names: list[str] | None = None,
    start: Annotated[int, Meta(ge=0)] = 0,
    end: Annotated[int, Meta(ge=0)] | None = None,
) -> Verdict:
    """Verify files against their RECORD hashes.

    `names` selects distributions; null selects all. `start` and `end` select a part of them, from
    `start` up to but not including `end`, so that several tasks can share the work.
    """
    wanted = None if names is None else set(names)
    chosen = [(n, d) for n, d in _installed() if wanted is None or n in wanted][start:end]
    total = sum(len(distribution.files or ()) for _, distribution in chosen)
    verdict = Verdict(distributions=len(chosen))
    began = time.monotonic()
    for name, distribution in chosen:
        for file in distribution.files or ():
            ctx.progress(verdict.files, total, name)
            verdict.files += 1
            _verify_file(ctx, name, distribution, file, verdict)
    verdict.seconds = round(time.monotonic() - began, 3)
    return verdict


@executor.command("dist.report")
def report(
    ctx: Context,
    listed: dict[str, Any],
    verified: Verdict,
    note: Any = None,
    folder: str | None = None,
) -> dict[str, Any]:
    """Write a report as JSON and as text. Return the paths of the files and a summary.

    The names of the files are derived from the run, so that a retry writes the same files.
    """
    default = Path(tempfile.gettempdir()) / "kaiju-package-reports"
    target = default if folder is None else Path(folder).expanduser()
    target.mkdir(parents=True, exist_ok=True)
    name = "packages-" + re.sub(r"[^A-Za-z0-9._-]", "_", ctx.job_id)[:100]
    summary = _summary(verified)
    body = {"summary": summary, "note": note, "verified": verified, "listed": listed}
    encoded = msgspec.json.format(msgspec.json.encode(body), indent=2)
    text = "\n".join(_report_lines(summary, listed, verified, note)) + "\n"
    return {
        "json": _write(target / f"{name}.json", encoded),
        "text": _write(target / f"{name}.txt", text.encode()),
        "summary": summary,
    }


def _installed() -> list[tuple[str, Distribution]]:
    """With their names: `Distribution` parses its metadata for each attribute that is read."""
    named = [(_name(distribution), distribution) for distribution in distributions()]
    return sorted(named, key=lambda pair: (pair[0].lower(), pair[1].version or ""))


def _name(distribution: Distribution) -> str:
    # The metadata of a broken installation may have no name.
    names: list[str] = distribution.metadata.get_all("Name") or ["unknown"]
    return names[0]


def _verify_file(
    ctx: Context, name: str, distribution: Distribution, file: PackagePath, verdict: Verdict
) -> None:
    if file.hash is None or file.hash.mode not in hashlib.algorithms_available:
        verdict.skipped += 1
        return
    try:
        actual = _digest(ctx, Path(str(distribution.locate_file(file))), file.hash.mode)
    except (FileNotFoundError, NotADirectoryError):
        actual = None
    finding = Finding(name, str(file), file.hash.value, actual)
    if actual is None:
        verdict.missing_count += 1
        _keep(verdict.missing, finding)
    elif actual != file.hash.value.rstrip("="):
        verdict.mismatch_count += 1
        _keep(verdict.mismatches, finding)
    else:
        verdict.verified += 1


def _digest(ctx: Context, path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            ctx.check()
            digest.update(chunk)
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def _keep(findings: list[Finding], finding: Finding) -> None:
    if len(findings) < MAX_FINDINGS:
        findings.append(finding)


def _summary(verified: Verdict) -> str:
    return (
        f"{verified.distributions} distributions, {verified.files} files: "
        f"{verified.verified} match, {verified.skipped} without a hash, "
        f"{verified.mismatch_count} changed, {verified.missing_count} missing"
    )


def _report_lines(
    summary: str, listed: dict[str, Any], verified: Verdict, note: Any
) -> Iterator[str]:
    yield "Verification of installed Python packages against their RECORD"
    yield summary
    if note is not None:
        yield f"Note: {msgspec.json.encode(note).decode()}"
    for title, findings in (("Changed", verified.mismatches), ("Missing", verified.missing)):
        if findings:
            yield f"\n{title}"
            yield from (f"  {item.distribution}: {item.file}" for item in findings)
    yield "\nDistributions"
    for item in listed.get("distributions", []):
        yield f"  {item['name']} {item['version']}, {item['files']} files"


def _write(path: Path, content: bytes) -> str:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
    return str(path)
