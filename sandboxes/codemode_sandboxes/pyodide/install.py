"""Where Pyodide is kept, and how it gets there. Nothing is downloaded but by `install`."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from codemode_sandboxes.errors import SandboxUnavailable

__all__ = ["COMMAND", "NAME", "VERSION", "cache_folder", "find_pyodide", "install"]

NAME = "pyodide"
VERSION = "314.0.7"
"""The one version: memory snapshots are made through options that Pyodide calls private."""

_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
COMMAND = "python -m codemode_sandboxes.pyodide install"


def cache_folder() -> Path:
    """Give the folder in which Pyodide and snapshots are kept unless another is named."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "codemode-sandboxes" / "pyodide"


def find_pyodide(place: Path | None, cache: Path) -> Path:
    """Give the folder of the npm package.

    Args:
        place: Where it is said to be; None for where `install` puts it.
        cache: The cache folder.

    Raises:
        SandboxUnavailable: It is not there, or is another version.
    """
    folder = (place or _installed(cache)).absolute()
    try:
        version = json.loads((folder / "package.json").read_text())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        what = f"there is no npm package pyodide in {folder}" if place else "the npm package pyodide is not installed"
        raise SandboxUnavailable(NAME, what, _remedy(place)) from None
    if version != VERSION:
        raise SandboxUnavailable(NAME, f"it needs pyodide {VERSION}, not {version}", _remedy(place))
    if missing := [name for name in _FILES if not (folder / name).is_file()]:
        raise SandboxUnavailable(NAME, f"the npm package pyodide lacks {', '.join(missing)}", _remedy(place))
    return folder


def install(cache: Path | None = None) -> Path:
    """Fetch the npm package, without running any script of it, and give its folder.

    Raises:
        SandboxUnavailable: npm is missing, or fails.
    """
    cache = (cache or cache_folder()).absolute()
    place = _installed(cache)
    npm = shutil.which("npm")
    if npm is None:
        raise SandboxUnavailable(NAME, "npm is not installed", "Install Node.js 20 or later, with npm")
    folder = place.parent.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": {"pyodide": VERSION}}))
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:500]
        raise SandboxUnavailable(NAME, f"npm could not fetch pyodide {VERSION}: {said}", "Run the command again")
    return find_pyodide(None, cache)


def _installed(cache: Path) -> Path:
    return cache / VERSION / "node_modules" / "pyodide"


def _remedy(place: Path | None) -> str:
    return f"Run `{COMMAND}`" + (", and leave out pyodide=" if place else "")
