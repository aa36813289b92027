"""A wheel of a project of one's own, for guests: made by pyodide-build, and kept where `install --package` finds it.

A project of Python alone needs no toolchain: pypa's build, which pyodide-build works with, makes the same wheel. Only with
pyodide-build's toolchain can a project be built as for Pyodide, so that it leaves compiled code out that it can do without.
Unlike the packages of an index, a project's own build code runs on this machine.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.pyodide.packages import NAME

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["build_project", "find_built"]

_EXTRA = "pip install 'codemode-sandboxes[pyodide-build]'"
_TOOLCHAIN = "`pyodide xbuildenv install` and Emscripten's `emcc`"
_SECONDS = 3600
_LONGEST_LINE = 300


def build_project(project: Path, cache: Path, *, isolated: bool = True) -> Path:
    """Build the wheel of a project, and keep it in the cache folder. A wheel of the same version is replaced.

    Args:
        project: Its folder, with a `pyproject.toml` or a `setup.py`.
        cache: The cache folder.
        isolated: Install what builds it into an environment of its own, from the index, rather than use what is here.

    Returns:
        The wheel.

    Raises:
        SandboxUnavailable: pyodide-build is missing, the project cannot be built, or it has compiled code.
    """
    if not any((project / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise SandboxUnavailable(NAME, f"there is no project in {project}: no pyproject.toml and no setup.py")
    if sys.version_info < (3, 12):
        reason = f"pyodide-build needs Python 3.12 or later, and this is {sys.version_info[0]}.{sys.version_info[1]}"
        raise SandboxUnavailable(NAME, reason, f"Run the command with a later Python, after `{_EXTRA}`")
    if missing := [name for name in ("pyodide_build", "build") if importlib.util.find_spec(name) is None]:
        raise SandboxUnavailable(
            NAME, f"the package {missing[0].replace('_', '-')} is not installed", f"Run `{_EXTRA}`"
        )
    toolchain = shutil.which("emcc") is not None and _run("pyodide_cli", "xbuildenv", "version").returncode == 0
    folder = _built(cache)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        options = ["--outdir", name, *([] if isolated else ["--no-isolation"])]
        command = ["pyodide_cli", "build"] if toolchain else ["build", "--wheel"]
        done = _run(*command, str(project.absolute()), *options)
        wheels = list(Path(name).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            raise SandboxUnavailable(NAME, f"{project} cannot be built: {_last_line(done)}")
        if not wheels[0].name.endswith("-none-any.whl"):
            reason = f"{project} has compiled code, which cannot be put in a memory snapshot"
            if toolchain:
                raise SandboxUnavailable(NAME, reason, "Use another sandbox: DockerSandbox(packages=[...])")
            remedy = f"If it can do without on Pyodide, its toolchain has to build it: {_TOOLCHAIN} are missing here"
            raise SandboxUnavailable(NAME, reason, remedy)
        return wheels[0].replace(folder / wheels[0].name)


def find_built(requirement: "Requirement", cache: Path) -> Path | None:
    """Return the newest wheel that `build_project` has kept and that fits a requirement; None where there is none."""
    from packaging.utils import parse_wheel_filename

    found = [(parse_wheel_filename(wheel.name), wheel) for wheel in _built(cache).glob("*.whl")]
    fit = [
        (version, wheel)
        for (name, version, *_), wheel in found
        if name == requirement.name and requirement.specifier.contains(version, prereleases=True)
    ]
    return max(fit)[1] if fit else None


def _built(cache: Path) -> Path:
    return cache / "packages" / "built"


def _run(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(NAME, f"pyodide-build does not work: {error}") from None


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1][:_LONGEST_LINE] if lines else f"exit status {done.returncode}"
