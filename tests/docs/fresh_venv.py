"""Makes a virtual environment that has what kaiju_tasks depends on, and not kaiju_tasks:
`python -m tests.docs.fresh_venv FOLDER`. Nothing is fetched. Its pip is that of this environment:
to install pip takes as long as to start ten managers.
"""

import sys
import sysconfig
import venv
from pathlib import Path


def make(folder: Path) -> None:
    """Make it in this folder."""
    venv.create(folder)
    dependencies = folder / "dependencies"
    dependencies.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "kaiju_tasks" not in entry.name and entry.suffix != ".pth":
            (dependencies / entry.name).symlink_to(entry)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{dependencies.resolve()}\n")
    pip = folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec "{folder.resolve()}/bin/python" -m pip "$@"\n')
    pip.chmod(0o755)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
