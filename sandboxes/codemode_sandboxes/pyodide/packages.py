"""Pyodide and packages for it: a command fetches them, and guests find them without a network.

npm fetches Pyodide. pip fetches wheels of Python alone, and pyodide-lock writes a lockfile of them. No code of a package
runs on this machine.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codemode_sandboxes.errors import SandboxUnavailable

__all__ = [
    "NAME",
    "VERSION",
    "Package",
    "cache_folder",
    "download_wheels",
    "find_packages",
    "find_pyodide",
    "install_packages",
    "install_pyodide",
    "normalize",
]

NAME = "pyodide"
"""The sandbox's name."""

VERSION = "314.0.7"
"""The one version of Pyodide that works: memory snapshots are made through options that it calls private."""

_COMMAND = "python -m codemode_sandboxes.pyodide install"
_EXTRA = "pip install 'codemode-sandboxes[pyodide]'"
_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
_LOCK_INFO = ("arch", "platform", "python", "abi_version")
_PIP_SECONDS = 600
_PIP_OPTIONS = ("--no-input", "--disable-pip-version-check")

# pip takes the Python version and platform that it finds wheels for, but evaluates the markers of requirements, such as
# "; sys_platform == 'win32'", for the machine that it runs on. This makes it evaluate them for Pyodide.
_PIP = """
import functools, json, runpy, sys
from pip._vendor.packaging.markers import Marker
pyodide, evaluate = json.loads(sys.argv.pop(1)), Marker.evaluate
@functools.wraps(evaluate)
def evaluate_for_pyodide(self, environment=None, *rest, **options):
    return evaluate(self, {**pyodide, **(environment or {})}, *rest, **options)
Marker.evaluate = evaluate_for_pyodide
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_NOT_FOUND = re.compile(r"satisfies the requirement (.+?)(?: \(from (?!versions)([^()]*)\))? \(from versions: (.*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package that guests can import.

    Attributes:
        name: Its normalised name on the index.
        version: Its version.
        modules: Its top-level modules.
        wheel: The content of its wheel.
        requested: Whether it was requested by name, rather than needed by a package that was.
    """

    name: str
    version: str
    modules: tuple[str, ...]
    wheel: bytes = field(repr=False)
    requested: bool


def cache_folder() -> Path:
    """Return the folder that keeps Pyodide, packages and snapshots where no other is named."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "codemode-sandboxes" / "pyodide"


def find_pyodide(folder: Path | None, cache: Path) -> Path:
    """Return the absolute folder of the npm package.

    Args:
        folder: The folder that the user names; None for the one that `install_pyodide` fills.
        cache: The cache folder.

    Raises:
        SandboxUnavailable: It is not there, or is of another version.
    """
    place = (folder or _pyodide_folder(cache)).absolute()
    remedy = f"Run `{_COMMAND}`" + (", and leave out pyodide=" if folder else "")
    try:
        version = json.loads((place / "package.json").read_text())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        what = f"there is no npm package pyodide in {place}" if folder else "the npm package pyodide is not installed"
        raise SandboxUnavailable(NAME, what, remedy) from None
    if version != VERSION:
        raise SandboxUnavailable(NAME, f"it needs pyodide {VERSION}, not {version}", remedy)
    if missing := [name for name in _FILES if not (place / name).is_file()]:
        raise SandboxUnavailable(NAME, f"the npm package pyodide lacks {', '.join(missing)}", remedy)
    return place


def install_pyodide(cache: Path) -> Path:
    """Fetch the npm package into the cache folder, and return its folder. None of its scripts runs.

    Raises:
        SandboxUnavailable: npm is missing or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SandboxUnavailable(NAME, "npm is not installed", "Install Node.js 20 or later, with npm")
    folder = _pyodide_folder(cache.absolute()).parent.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": {"pyodide": VERSION}}))
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        message = " ".join((done.stderr or done.stdout).split())[:500]
        raise SandboxUnavailable(NAME, f"npm could not fetch pyodide {VERSION}: {message}", "Run the command again")
    return find_pyodide(None, cache)


def _pyodide_folder(cache: Path) -> Path:
    return cache / VERSION / "node_modules" / "pyodide"


def normalize(packages: str | Iterable[str]) -> tuple[str, ...]:
    """Return requirements in one spelling and order.

    Args:
        packages: Names as on the index, with versions and extras if wanted: "python-dateutil", "attrs>=25,<26".

    Raises:
        ValueError: One is not of that form. Addresses and folders are not allowed.
        SandboxUnavailable: The extra `pyodide` is not installed.
    """
    packages = [packages] if isinstance(packages, str) else list(packages)
    if not packages:
        return ()
    try:
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.utils import canonicalize_name
    except ImportError:
        raise SandboxUnavailable(NAME, "packages= needs the package packaging", f"Run `{_EXTRA}`") from None
    requirements = set()
    for text in packages:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise ValueError(f"{text!r} is not a package with its version: {str(error).splitlines()[0]}") from None
        if requirement.url:
            raise ValueError(f"{text!r} names an address; packages come from the index that pip is configured for")
        requirement.name = canonicalize_name(requirement.name)
        requirements.add(str(requirement))
    return tuple(sorted(requirements))


def install_packages(
    requirements: Sequence[str],
    pyodide: Path,
    cache: Path,
    *,
    prepare: Callable[[Sequence[Path]], None] | None = None,
    own: Callable[[str], Path | None] = lambda requirement: None,
) -> list[Package]:
    """Fetch packages and all that they need, and write their lockfile. Needs a network.

    Args:
        requirements: The result of `normalize`.
        pyodide: The folder of the npm package.
        cache: The cache folder.
        prepare: Changes the files of the wheels before they are locked.
        own: Returns the wheel of a requirement that is a project of the user's, which is taken in place of the index's.

    Raises:
        SandboxUnavailable: A package has no wheel of Python alone, or the extra `pyodide` is not installed.
    """
    try:
        from pyodide_lock import InfoSpec, PyodideLockSpec
        from pyodide_lock.utils import add_wheels_to_spec
    except ImportError as error:
        raise SandboxUnavailable(NAME, f"packages need more than is installed: {error}", f"Run `{_EXTRA}`") from None
    lock = _lockfile(requirements, cache)
    info = json.loads((pyodide / "pyodide-lock.json").read_text())["info"]
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=lock.parent, prefix="new-") as name:
            folder = Path(name)
            places = [(requirement, own(requirement)) for requirement in requirements]
            # By its address, a wheel counts whatever versions the index has.
            addresses = [_at(requirement, wheel) if wheel else requirement for requirement, wheel in places]
            wheels = download_wheels(addresses, info["python"], folder)
            if prepare is not None:
                prepare(wheels)
            wheels = [_store(wheel, cache) for wheel in wheels]
            empty = PyodideLockSpec(
                info=InfoSpec(**{"version": VERSION} | {key: info.get(key) for key in _LOCK_INFO}), packages={}
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the reader warns of metadata that is newer than itself
                spec = add_wheels_to_spec(empty, wheels, base_path=lock.parent)
            # A guest that starts now reads the old lockfile or the new one, never a part.
            spec.to_json(folder / lock.name, indent=1)
            (folder / lock.name).replace(lock)
    except OSError as error:
        raise SandboxUnavailable(NAME, f"the packages cannot be kept: {error}", "Name another --cache") from None
    except (RuntimeError, ValueError) as error:
        raise SandboxUnavailable(NAME, f"the packages cannot be locked: {str(error)[:300]}") from None
    return find_packages(requirements, cache)


def _at(requirement: str, wheel: Path) -> str:
    """Return a requirement, with its extras, that names the wheel itself."""
    from packaging.requirements import Requirement

    parsed = Requirement(requirement)
    extras = f"[{','.join(sorted(parsed.extras))}]" if parsed.extras else ""
    return f"{parsed.name}{extras} @ {wheel.absolute().as_uri()}"


def find_packages(requirements: Sequence[str], cache: Path) -> list[Package]:
    """Return the packages that `install_packages` put in the cache folder for exactly these requirements.

    Raises:
        SandboxUnavailable: They are not there, or differ from the lockfile.
    """
    if not requirements:
        return []
    remedy = f"Run `{_command(requirements, cache)}`"
    lock = _lockfile(requirements, cache)
    try:
        entries: dict[str, dict[str, Any]] = json.loads(lock.read_text())["packages"]
        wheels = {name: (lock.parent / entry["file_name"]).read_bytes() for name, entry in entries.items()}
    except FileNotFoundError:
        names = ", ".join(requirements)
        raise SandboxUnavailable(NAME, f"these packages are not prepared: {names}", remedy) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SandboxUnavailable(NAME, f"the lockfile {lock} is of no use: {error}", remedy) from None
    for name, wheel in wheels.items():
        if hashlib.sha256(wheel).hexdigest() != entries[name]["sha256"]:
            raise SandboxUnavailable(NAME, f"the wheel of {name} is not the one that was locked", remedy)
    # The name is all before the extras and versions: `normalize` left no other spelling.
    requested = {found[0] for text in requirements if (found := re.match(r"[a-z0-9-]+", text))}
    return [
        Package(
            name=name,
            version=entry["version"],
            modules=tuple(sorted(entry["imports"])),
            wheel=wheels[name],
            requested=name in requested,
        )
        for name, entry in sorted(entries.items())
    ]


def _lockfile(requirements: Sequence[str], cache: Path) -> Path:
    key = hashlib.sha256("\n".join((VERSION, *requirements)).encode()).hexdigest()[:32]
    return cache / "packages" / f"{key}.json"


def _store(wheel: Path, cache: Path) -> Path:
    """Move a wheel to the folder of all lockfiles, and return its place: by its hash, as two may have one name."""
    folder = cache / "packages" / "wheels" / hashlib.sha256(wheel.read_bytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return wheel.replace(folder / wheel.name)


def _command(requirements: Sequence[str], cache: Path) -> str:
    parts = [_COMMAND, *(f"--package {shlex.quote(requirement)}" for requirement in requirements)]
    if cache != cache_folder().absolute():
        parts.append(f"--cache {shlex.quote(str(cache))}")
    return " ".join(parts)


def download_wheels(requirements: Sequence[str], python: str, folder: Path) -> list[Path]:
    """Fetch the wheels of packages and of all that they need, from the index that pip is configured for.

    Args:
        requirements: The packages, as pip takes them.
        python: Pyodide's Python version, such as "3.14.2".
        folder: An empty folder for the wheels.

    Raises:
        SandboxUnavailable: pip is missing or fails, or a package has no wheel of Python alone.
    """
    minor = python.rpartition(".")[0]
    markers = {
        "implementation_name": "cpython", "implementation_version": python, "os_name": "posix",
        "platform_machine": "wasm32", "platform_release": "", "platform_system": "Emscripten", "platform_version": "",
        "platform_python_implementation": "CPython", "python_full_version": python, "python_version": minor,
        "sys_platform": "emscripten",
    }  # fmt: skip
    # The ABI "none" and the platform "any" leave wheels of Python alone.
    target = ["--implementation", "cp", "--python-version", minor, "--abi", "none", "--platform", "any"]
    options = ["--only-binary", ":all:", *target, "--progress-bar", "off", "--dest", str(folder)]
    done = _run_python(["-c", _PIP, json.dumps(markers), "download", *_PIP_OPTIONS, *options, "--", *requirements])
    if done.returncode:
        raise SandboxUnavailable(NAME, *_explain(done.stderr))
    return sorted(folder.glob("*.whl"))


def _run_python(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PIP_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(NAME, f"pip does not work: {error}", "Run the command again") from None


def _explain(output: str) -> tuple[str, str]:
    """Return the reason and the remedy, from what pip wrote to its standard error."""
    if "No module named 'pip'" in output:
        return "pip is not installed beside this Python", "Run `python -m ensurepip`"
    if "Retrying (" in output:
        return "pip cannot reach the package index", "Run the command again where there is a network"
    errors = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR: ")]
    found = next((match for line in errors if (match := _NOT_FOUND.search(line))), None)
    if found is None:
        return f"pip cannot get the packages: {(errors or [output.strip()[-300:]])[0][:300]}", ""
    requirement, needed_by, versions = found.groups()
    name = requirement + (f" (which {needed_by} needs)" if needed_by else "")
    if versions != "none":
        return f"there is no {name} that can be used; there are {versions[-200:]}", "Name another version"
    if not _exists(requirement):
        return f"no package is named {name}", "Look the name up; pip asks the index that it is configured for"
    reason = f"{name} has no wheel that is of Python alone, and compiled code cannot be put in a memory snapshot"
    return reason, "Do without it, or use a sandbox with packages of its own: DockerSandbox(packages=[...])"


def _exists(requirement: str) -> bool:
    """Return whether the index has any file of a package; true where its name cannot be told."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        name = Requirement(requirement).name
    except InvalidRequirement:
        return True
    done = _run_python(["-m", "pip", "index", "versions", *_PIP_OPTIONS, "-vv", "--pre", name])
    # pip reports only versions that this machine can use; its log names the files that it skipped.
    file = "[-_.]+".join(map(re.escape, re.split("[-_.]+", name))) + r"-\d[^ ]*\.(whl|tar\.gz|zip)"
    return done.returncode == 0 or bool(re.search(file, done.stdout + done.stderr, re.IGNORECASE))
