"""Try what is to be released: `python -m tests.dist dist`.

The sdist holds every file of the repository. Wheel and sdist are each installed in a fresh
environment, where a manager serves, and the command line creates a task that its executor runs.
"""

import asyncio
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from kaiju_tasks import __version__
from tests.support.ports import free_port
from tests.support.processes import Processes

ROOT = Path(__file__).parents[1]
GENERATED = {"PKG-INFO"}


def main(folder: str) -> int:
    """Check the only wheel and the only sdist of a folder."""
    (wheel,) = Path(folder).glob("*.whl")
    (sdist,) = Path(folder).glob("*.tar.gz")
    check_tag()
    check_contents(sdist, wheel)
    for package in (wheel, sdist):
        with tempfile.TemporaryDirectory() as home:
            asyncio.run(try_out(package.resolve(), Path(home)))
        print(f"dist: {package.name} installs and runs")
    return 0


def check_tag() -> None:
    """A commit that has a tag is released under its name."""
    tags = _output("git", "tag", "--points-at", "HEAD").split()
    assert not tags or f"v{__version__}" in tags, f"the version is {__version__}, the tag {tags}"


def check_contents(sdist: Path, wheel: Path) -> None:
    """Compare both with what the repository holds."""
    known = set(_output("git", "ls-files").splitlines())
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()} - GENERATED
    assert held == known, f"the sdist differs from the repository: {sorted(held ^ known)}"
    package = {path for path in known if path.startswith("kaiju_tasks/")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == package, f"the wheel differs from kaiju_tasks/: {sorted(names ^ package)}"


async def try_out(package: Path, home: Path) -> None:
    """Install a package, and run a task with it."""
    venv.create(home / "venv", with_pip=True)
    bin = home / "venv" / "bin"
    subprocess.run([bin / "pip", "install", "--quiet", str(package)], check=True, cwd=home)
    kaiju = str(bin / "kaiju-tasks")
    assert _output(kaiju, "--version").split()[-1] == __version__
    processes, port = Processes(home), free_port()
    environ = {"PYTHONPATH": "", "KAIJU_URL": f"http://127.0.0.1:{port}"}
    serve = ["serve", "--executor", "kaiju_tasks.samples:executor", "--port", str(port)]
    try:
        manager = processes.start(
            [kaiju, *serve, "--db", f"sqlite:///{home}/tasks.db"], "serve", environ
        )
        await manager.logged(r"^kaiju-tasks \S+ at ")
        task = ["task", "create", "--method", "do.echo", "--param", "data=1", "--watch"]
        said = _output(kaiju, *task, **environ)
        assert "FINISHED" in said, said
        manager.terminate()
        assert await manager.ended() == 0
    finally:
        processes.close()


def _output(*command: str, **environ: str) -> str:
    """What a command prints in the repository's folder."""
    env = {**os.environ, **environ}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
