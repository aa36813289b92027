"""A virtual environment for each system: they ask for versions that exclude one another."""

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

__all__ = ["CACHE", "ROOT", "environment"]

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "benchmarks"


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Make the environment, or make it anew where what it holds has changed.

    Args:
        name: Of the folder under `.cache/benchmarks`.
        requirements: What pip installs. A path, relative to the repository, is installed so that edits count at once.

    Returns:
        The environment's Python.

    Raises:
        subprocess.CalledProcessError: pip could not install it; what it said stands on stderr.
    """
    folder = CACHE / name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    wanted = "\n".join([sys.version, *requirements, *_projects(requirements)])
    made = folder / "installed.txt"
    if made.exists() and made.read_text() == wanted:
        return python
    print(f"installing {name} into {folder.relative_to(ROOT)}", file=sys.stderr)
    venv.create(folder, clear=True, with_pip=True)
    arguments = [part for each in requirements for part in (("-e", each) if each.startswith(".") else (each,))]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(pip, cwd=ROOT, check=True)
    made.write_text(wanted)
    return python


def _projects(requirements: Sequence[str]) -> list[str]:
    """What our own projects depend on, so that a change of it is seen."""
    folders = [each.partition("[")[0] for each in requirements if each.startswith(".")]
    return [(ROOT / folder / "pyproject.toml").read_text() for folder in folders]
